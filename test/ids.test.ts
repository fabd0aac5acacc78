import * as assert from 'uvu/assert'
import { newId, numberedIds } from '../src/ids.ts'
import { suite } from './suite.ts'

const test = suite('ids')

test('are a prefix and 26 characters that sort by time', () => {
  const bytes = new Uint8Array(12).fill(255)
  const earlier = newId('dev', 1_795_396_247, bytes)
  const later = newId('dev', 1_795_396_248, new Uint8Array(12))
  assert.match(earlier, /^dev_[0-9a-hjkmnp-tv-z]{26}$/)
  assert.ok(earlier < later)
})

test('of numbered rows sort by their numbers, and differ in their last seven characters alone', () => {
  const idOf = numberedIds('dev', 1_795_396_247, new Uint8Array(12).fill(255))
  const numbers = [0, 1, 31, 32, 1_000, 100_000, 2 ** 31, 2 ** 32 + 1, 2 ** 35 - 1]
  const ids = numbers.map(idOf)
  assert.equal([...ids].sort(), ids)
  assert.is(new Set(ids).size, ids.length)
  for (const id of ids) assert.match(id, /^dev_[0-9a-hjkmnp-tv-z]{26}$/)
  assert.is(new Set(ids.map((id) => id.slice(0, -7))).size, 1)
  assert.is(ids[0]?.slice(0, 10), newId('dev', 1_795_396_247, new Uint8Array(12)).slice(0, 10))
})
