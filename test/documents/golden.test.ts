import * as assert from 'uvu/assert'
import { type Builtin, type Role, roles } from '../../src/documents/profile.ts'
import type { RenderedDocument } from '../../src/documents/rendered.ts'
import { golden } from '../golden.ts'
import { suite } from '../suite.ts'
import { documents, partsOf, systems } from './parts.ts'

const test = suite('built-in documents, whole')

for (const role of roles) {
  for (const system of ['debian', 'rocky'] as const) {
    test(`${system}, ${role}`, () => {
      const { rendered } = documents.compose(partsOf(`builtin:${system}`, role))
      golden(`${system}-${role}.yaml`, rendered.body)
      assert.is(rendered.contentType, 'text/cloud-config')
    })
  }

  for (const system of ['fcos', 'flatcar'] as const) {
    test(`${system}, ${role}`, () => {
      const { rendered } = documents.compose(partsOf(`builtin:${system}`, role))
      golden(`${system}-${role}.ign`, rendered.body)
      golden(`${system}-${role}.txt`, readable(rendered))
      assert.is(rendered.contentType, 'application/vnd.coreos.ignition+json;version=3.3.0')
    })
  }
}

for (const system of ['fcos', 'flatcar'] as const) {
  test(`${system}, server, K3s in a container`, () => {
    const rendered = inContainer(`builtin:${system}`, 'server')
    golden(`${system}-container.ign`, rendered.body)
    golden(`${system}-container.txt`, readable(rendered))
  })
}

// A server and an agent: between them they have all that the two documents do not share with K3s on the host.
for (const [system, role] of [
  ['debian', 'server'],
  ['rocky', 'agent'],
] as const) {
  test(`${system}, ${role}, K3s in a container`, () => {
    golden(`${system}-container.yaml`, inContainer(`builtin:${system}`, role).body)
  })
}

test('K3s in a container: no document names a binary or a script', () => {
  for (const role of roles)
    for (const system of systems) {
      const rendered = inContainer(`builtin:${system}`, role)
      const text = rendered.contentType === 'text/cloud-config' ? rendered.body : readable(rendered)
      assert.not.match(text, /github|install\.sh/, system)
    }
})

function inContainer(template: Builtin, role: Role): RenderedDocument {
  const parts = partsOf(template, role)
  const vars = { runtime: 'container', image: `docker.io/rancher/k3s:v1.36.3-k3s1@sha256:${'d4'.repeat(32)}` }
  const profile = { ...parts.profile, id: `prf_container_${template}`, spec: { ...parts.profile.spec, vars } }
  return documents.compose({ ...parts, profile }).rendered
}

/** An Ignition config as people read it: contents decoded, modes in octal. */
function readable({ body }: RenderedDocument): string {
  const config = JSON.parse(body, (key, value) => {
    if (key === 'mode') return `0${value.toString(8)}`
    const data = typeof value === 'string' ? /^data:;base64,(.*)$/.exec(value)?.[1] : undefined
    return data === undefined ? value : Buffer.from(data, 'base64').toString()
  })
  return `${JSON.stringify(config, null, 2).replaceAll('\\n', '\n')}\n`
}
