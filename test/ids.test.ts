import * as assert from 'uvu/assert'
import { newId } from '../src/ids.ts'
import { suite } from './suite.ts'

const test = suite('ids')

test('are a prefix and 26 characters that sort by time', () => {
  const bytes = new Uint8Array(12).fill(255)
  const earlier = newId('dev', 1_795_396_247, bytes)
  const later = newId('dev', 1_795_396_248, new Uint8Array(12))
  assert.match(earlier, /^dev_[0-9a-hjkmnp-tv-z]{26}$/)
  assert.ok(earlier < later)
})
