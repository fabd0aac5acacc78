import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { openVault, sealingKey } from '../../src/store/seal.ts'
import { suite } from '../suite.ts'

const key = sealingKey(new Uint8Array(32).fill(7))
const other = sealingKey(new Uint8Array(32).fill(8))
const vault = openVault([key])
const place = 'enrollments/enr_1/document'

const test = suite('seal')

test('refuses a value that was moved to another place', () => {
  const sealed = vault.seal(place, 'secret')
  assert.throws(() => vault.open('enrollments/enr_2/document', sealed), /not sealed for this place/)
})

test('refuses a value under a key that is not there, and names the key', () => {
  assert.throws(
    () => openVault([other]).open(place, vault.seal(place, 'secret')),
    new RegExp(`not here \\(${key.id}\\)`),
  )
})

test('refuses any single changed bit', () => {
  const sealed = vault.seal(place, 'secret')
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed)
    changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    assert.throws(() => vault.open(place, changed))
  }
})

test('refuses anything else, without ever giving bytes back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      assert.throws(() => vault.open(place, bytes))
    }),
  )
})

test('refuses to be a vault without keys', () => {
  assert.throws(() => openVault([]), /no sealing key/)
})

test('opens what it sealed, text and bytes of any length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (bytes, text) => {
      assert.equal(vault.open(place, vault.seal(place, bytes)), Buffer.from(bytes))
      assert.is(vault.open(place, vault.seal(place, text)).toString(), Buffer.from(text).toString())
    }),
  )
})

test('seals with the newest key and opens what older ones sealed', () => {
  const rotated = openVault([other, key])
  assert.is(rotated.open(place, vault.seal(place, 'old')).toString(), 'old')
  assert.throws(() => vault.open(place, rotated.seal(place, 'new')), new RegExp(other.id))
})

test('never gives the same bytes twice', () => {
  assert.is.not(
    Buffer.from(vault.seal(place, 'x')).toString('hex'),
    Buffer.from(vault.seal(place, 'x')).toString('hex'),
  )
})
