import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { roles } from '../../src/documents/profile.ts'
import { suite } from '../suite.ts'
import { documents, partsOf, systems } from './parts.ts'

const test = suite('built-in documents, whole')

// GOLDEN=write node test/run.mjs test/documents/golden.test.ts  writes them anew; the difference is reviewed as text.
const golden = (name: string) => fileURLToPath(new URL(`../golden/${name}`, import.meta.url))

for (const system of systems) {
  for (const role of roles) {
    const ignition = system === 'fcos' || system === 'flatcar'
    const name = `${system}-${role}.${ignition ? 'ign' : 'yaml'}`
    test(`${system}, ${role}: ${name}`, () => {
      const { rendered } = documents.compose(partsOf(`builtin:${system}`, role))
      if (process.env.GOLDEN === 'write') writeFileSync(golden(name), rendered.body)
      assert.fixture(rendered.body, readFileSync(golden(name), 'utf8'))
      assert.is(
        rendered.contentType,
        ignition ? 'application/vnd.coreos.ignition+json;version=3.3.0' : 'text/cloud-config',
      )
    })
  }
}
