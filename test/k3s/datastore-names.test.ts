import assert from 'node:assert/strict'
import { newId } from '../../src/ids.ts'
import { loginPassword, loginRole, ownerRole } from '../../src/k3s/datastore-names.ts'
import { suite } from '../suite.ts'

const test = suite('names in the managed datastore')

test('refuses whatever is no id of ours', () => {
  for (const id of [
    '',
    'clu_',
    'site-a',
    'clu_x"; drop role rollcall; --',
    `clu_${'A'.repeat(26)}`,
    `enr_${'0'.repeat(26)}`,
  ]) {
    assert.throws(() => ownerRole(id), { code: 'internal' })
  }
})

test('names of roles fit into Postgres and need no quotes', () => {
  const bytes = new Uint8Array(12).fill(255)
  for (const name of [ownerRole(newId('clu', 1, bytes)), loginRole(newId('enr', 1, bytes))]) {
    assert.match(name, /^[a-z_][a-z0-9_]{0,62}$/)
  }
})

test('a login has a password of its own, the same each time', () => {
  const key = new Uint8Array(32).fill(8)
  assert.equal(loginPassword(key, 'enr_a'), loginPassword(key, 'enr_a'))
  assert.notEqual(loginPassword(key, 'enr_a'), loginPassword(key, 'enr_b'))
  assert.match(loginPassword(key, 'enr_a'), /^[A-Za-z0-9_-]{43}$/)
})
