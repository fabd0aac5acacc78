import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { suite } from '../suite.ts'

const test = suite('our own role and hostile schemas')
const source = fileURLToPath(new URL('../../src', import.meta.url))
const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))

/** The guard reads as the cluster's reader; the probes look at datastores that an admin names, with that login; rows are put back as the cluster's owner. */
const mayName = /^datastore\/((?:table-)?guard|copy|kine-look|probe-\w+|restore\w*|backup\w*|[\w-]*rows)\.ts$/
const naming = /^(?!import ).*(?:\bfrom (?:only )?\S*\bkine\b|\.kine\b)/m

test("nothing but the guard names a managed cluster's table", () => {
  const found = files.filter((name) => naming.test(readFileSync(join(source, name), 'utf8')))
  assert.ok(found.includes('datastore/guard.ts'), 'the search finds nothing')
  assert.equal(
    found.filter((name) => !mayName.test(name)),
    [],
  )
})

test('nothing sets a search_path to a schema that a cluster owns, but for its own logins', () => {
  const setting = files.filter((name) =>
    /set (local )?search_path (to|=) '?\$\{/.test(readFileSync(join(source, name), 'utf8')),
  )
  assert.equal(
    setting.filter((name) => !['datastore/logins.ts'].includes(name) && !mayName.test(name)),
    [],
  )
})
