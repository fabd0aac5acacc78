import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { deriveAlternative, deriveHostname, hostnamePattern } from '../../src/roll/hostname.ts'
import { whyNot } from '../../src/roll/serial.ts'
import { suite } from '../suite.ts'

const test = suite('hostname')

test('is the serial in lower case, all else squeezed to single hyphens and trimmed', () => {
  assert.is(deriveHostname('SN-0001'), 'sn-0001')
  assert.is(deriveHostname('/AB_ C::9.'), 'ab-c-9')
  assert.is(deriveHostname(`${'a'.repeat(62)}.b`), 'a'.repeat(62))
})

test('gets four hex digits of the serial as entered when it is taken', () => {
  // printf '%s' SN_0001 | sha256sum
  assert.is(deriveAlternative('SN_0001'), 'sn-0001-2625')
  assert.is.not(deriveAlternative('sn_0001'), deriveAlternative('SN_0001'))
  assert.is(deriveAlternative('x'.repeat(64)).length, 63)
})

const serials = fc
  .string({ unit: fc.constantFrom(...'AZaz09._:/+&#- '), minLength: 1, maxLength: 64 })
  .map((text) => text.trim())
  .filter((text) => whyNot(text) === undefined)

test('is a DNS label for every serial, alternative included', () => {
  fc.assert(
    fc.property(serials, (serial) => {
      assert.match(deriveHostname(serial), hostnamePattern)
      assert.match(deriveAlternative(serial), hostnamePattern)
    }),
  )
})
