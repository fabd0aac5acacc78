import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { parseSerial, whyNot } from '../../src/roll/serial.ts'
import { suite } from '../suite.ts'

const test = suite('serial')
const invalid = (e: { code?: string }) => e.code === 'invalid'

const placeholders = [
  'None',
  'Default string',
  'To be filled by O.E.M.',
  'System Serial Number',
  'Not Specified',
  '0123456789',
]

test('refuses what boards report that were never given a serial, in any case', () => {
  for (const text of [...placeholders, '0', '0000000']) {
    for (const spelt of [text, text.toUpperCase(), text.toLowerCase(), ` ${text} `]) {
      assert.throws(() => parseSerial(spelt), invalid, spelt)
    }
  }
})

test('refuses what has no letter or digit, double spaces, other characters, and 65 characters', () => {
  for (const text of [
    '',
    ' ',
    '.',
    '../..',
    '--',
    'A  B',
    'A\tB',
    'A\nB',
    'Ä1',
    'A,B',
    'A"B',
    'A%B',
    'A?B',
    'A\0',
    'x'.repeat(65),
  ]) {
    assert.throws(() => parseSerial(text), invalid, JSON.stringify(text))
  }
})

test('takes 64 characters of every kind that is allowed', () => {
  const all = 'A.b_c:d/e+f&g#h-i 9'
  assert.equal(parseSerial(all), { serial: all, serialKey: 'a.b_c:d/e+f&g#h-i 9' })
  assert.is(parseSerial('x'.repeat(64)).serial.length, 64)
  assert.is(parseSerial('00001').serial, '00001')
  assert.is(parseSerial('None-1').serial, 'None-1')
})

test('is trimmed, shown as entered and matched in lower case', () => {
  assert.equal(parseSerial('  Sn 0001\n'), { serial: 'Sn 0001', serialKey: 'sn 0001' })
})

test('never fails otherwise, and what it takes it takes again', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
      if (whyNot(text.trim()) !== undefined) return assert.throws(() => parseSerial(text), invalid)
      const { serial } = parseSerial(text)
      assert.equal(parseSerial(serial), { serial, serialKey: serial.toLowerCase() })
    }),
  )
})
