import * as assert from 'uvu/assert'
import { pooledRandom } from '../src/random.ts'
import { suite } from './suite.ts'

const test = suite('random bytes')

/** Fills with 1, 2, 3 … so that each byte shows when it was drawn; remembers what it filled. */
function counting() {
  let last = 0
  const filled: Buffer[] = []
  const fill = (bytes: Buffer) => {
    filled.push(bytes)
    for (let i = 0; i < bytes.length; i += 4) bytes.writeUInt32BE(++last, i)
  }
  return { fill, filled }
}

test('gives no byte twice, whatever lengths are asked for', () => {
  const random = pooledRandom(counting().fill)
  const seen = new Set<number>()
  for (let i = 0; i < 3_000; i++) {
    const bytes = random([4, 12, 16, 24, 32, 512][i % 6] as number)
    for (let at = 0; at < bytes.length; at += 4) {
      const number = bytes.readUInt32BE(at)
      assert.not(number === 0 || seen.has(number), `${number}`)
      seen.add(number)
    }
  }
})

test('keeps nothing of what it gave out', () => {
  const { fill, filled } = counting()
  const random = pooledRandom(fill)
  const [first, second] = [random(16), random(16)]
  const copy = Buffer.from(first)
  assert.ok(filled[0]?.subarray(0, 32).every((byte) => byte === 0))
  second.fill(0)
  assert.ok(first.equals(copy))
})

test('draws from the system', () => {
  const random = pooledRandom()
  assert.is(random(0).length, 0)
  assert.is(new Set(Array.from({ length: 1_000 }, () => random(16).toString('hex'))).size, 1_000)
})
