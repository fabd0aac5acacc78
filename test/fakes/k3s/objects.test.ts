import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.ts'
import { fromRow, toRow } from './objects.ts'

const test = suite("the K3s simulator's rows")

const rows = readFileSync(new URL('../../fixtures/k3s-v1.36.3/kine-rows.tsv', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split('\t'))
  .filter(([, name]) => name?.startsWith('/registry/'))

for (const [id, name, , , , , , hex = ''] of rows) {
  test(`row ${id}, ${name}: read and written again, it is the same bytes`, () => {
    const bytes = Buffer.from(hex, 'hex')
    const object = fromRow(bytes)
    assert.is(object.metadata.name, name?.split('/').at(-1))
    assert.is(toRow(object).toString('hex'), hex)
  })
}

test('refuses what is no object', () => {
  assert.throws(() => fromRow(Buffer.from('{"health":"true"}')), 'no object')
})
