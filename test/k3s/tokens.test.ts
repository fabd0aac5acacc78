import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { nodePassword } from '../../src/k3s/node-password.ts'
import { bootstrapToken, parseBootstrapToken, serverToken } from '../../src/k3s/tokens.ts'
import { suite } from '../suite.ts'

const caHash = '0123456789abcdef'.repeat(4)

/** Bytes from a list, over and over. */
const bytesOf = (list: readonly number[]) => {
  let next = 0
  return (n: number) => Uint8Array.from({ length: n }, () => list[next++ % list.length] as number)
}

const test = suite('K3s tokens')

test('refuses to make a bootstrap token without a CA hash', () => {
  assert.throws(() => bootstrapToken('', bytesOf([1])))
})

test('makes a server token that K3s takes for one: 64 hex digits', () => {
  assert.is(serverToken(bytesOf([0xab])), 'ab'.repeat(32))
})

test('passes over the bytes that would make some letters likelier', () => {
  // 252 to 255 would be a second chance for a to d.
  assert.is(bootstrapToken(caHash, bytesOf([252, 253, 254, 255, 35])).text, `K10${caHash}::999999.9999999999999999`)
  assert.is(bootstrapToken(caHash, bytesOf([251, 0])).text, `K10${caHash}::9a9a9a.9a9a9a9a9a9a9a9a`)
})

test('gives each letter as many bytes as any other', () => {
  const counts = new Map<string, number>()
  for (let byte = 0; byte < 252; byte++) {
    const letter = bootstrapToken(caHash, bytesOf([byte])).id[0] as string
    counts.set(letter, (counts.get(letter) ?? 0) + 1)
  }
  assert.equal([...new Set(counts.values())], [7])
  assert.is(counts.size, 36)
})

test('reads back what it made, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(251), { minLength: 22, maxLength: 64 }), (bytes) => {
      const token = bootstrapToken(caHash, bytesOf(bytes))
      assert.equal(parseBootstrapToken(token.text), { ...token, caHash })
    }),
  )
  for (const text of [
    '',
    `K10${caHash}::server:secret`,
    'abcdef.0123456789abcdef',
    `K10${caHash}::abcdef.0123456789abcdeF`,
  ]) {
    assert.is(parseBootstrapToken(text), undefined, text)
  }
})

test("derives a node password that stays a device's own", () => {
  const key = new Uint8Array(32).fill(1)
  assert.is(nodePassword(key, 'dev_1'), '1456a067553c52cc3c8bf049ab6d3d56')
  assert.is.not(nodePassword(key, 'dev_1'), nodePassword(key, 'dev_2'))
  assert.is.not(nodePassword(key, 'dev_1'), nodePassword(new Uint8Array(32), 'dev_1'))
})
