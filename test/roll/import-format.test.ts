import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { AppError } from '../../src/errors.ts'
import { csvReader, type ImportLine, ndjsonReader } from '../../src/roll/import-format.ts'
import { maxLine } from '../../src/roll/lines.ts'
import { suite } from '../suite.ts'

const test = suite('import format')

function read(make: typeof csvReader, text: string | Uint8Array, piece = 1 << 20): ImportLine[] {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  const reader = make()
  const lines: ImportLine[] = []
  for (let at = 0; at < bytes.length; at += piece) lines.push(...reader.push(bytes.subarray(at, at + piece)))
  return [...lines, ...reader.end()]
}
const csv = (text: string | Uint8Array) => read(csvReader, text)
const ndjson = (text: string | Uint8Array) => read(ndjsonReader, text)

const reason = (line: ImportLine | undefined) => {
  if (!line || !('reason' in line)) return undefined
  return `${line.line}: ${line.path ? `${line.path}: ` : ''}${line.reason}`
}
const headerErrors = (text: string | Uint8Array): unknown => {
  try {
    csv(text)
  } catch (error) {
    assert.is((error as AppError).code, 'invalid')
    return (error as AppError).errors
  }
  return undefined
}

test('refuses a column that it does not know, one that stands twice, and a file without serials', () => {
  const twice = 'the column stands there twice'
  assert.equal(headerErrors('serial,colour\nA,red\n'), [{ path: 'colour', line: 1, reason: 'there is no such column' }])
  assert.equal(headerErrors('serial,note,note\n'), [{ path: 'note', line: 1, reason: twice }])
  assert.equal(headerErrors('profile\n'), [{ path: 'serial', line: 1, reason: 'the column is missing' }])
  assert.ok(headerErrors('serial,labels.\n'))
  assert.ok(headerErrors('serial,identity.jwk\n'))
})

test('refuses a file that is empty, packed, UTF-16, Mac-ended, or separated by semicolons, and says so', () => {
  const first = (text: string | Uint8Array) => (headerErrors(text) as { reason: string }[])[0]?.reason
  assert.is(first(''), 'the file is empty')
  assert.is(first(Buffer.from([0x1f, 0x8b, 8, 0])), 'the file is compressed: send it unpacked')
  assert.is(first(Buffer.from('\ufeffserial\n', 'utf16le')), 'the file is UTF-16: save it as UTF-8')
  assert.is(first('serial,profile\rA,p\r'), 'lines must end with LF or CRLF')
  assert.is(first('serial;profile\nA;p\n'), 'columns are separated by commas')
})

test('names a record by its first line: header, empty lines and quoted line breaks count', () => {
  const lines = csv('serial,profile,note\r\n\r\nA,p,"one\r\ntwo"\r\nB,p\r\nC,p,x')
  assert.equal(
    lines.map((l) => l.line),
    [3, 5, 6],
  )
  assert.equal(lines[0], { line: 3, input: { serial: 'A', profile: 'p', note: 'one\ntwo' } })
  assert.is(reason(lines[1]), '5: has 2 cells where the header has 3')
})

test('reads every column, and takes an empty cell as not given', () => {
  const text = [
    '\ufeffserial,profile,cluster,role,hostname,identity.thumbprint,identity.pem,min_assurance,labels.site,labels.rack,vars.ntp,macs,uuid,note',
    'SN/1,edge,store,agent,box-1,abc,,key,north,,"10.0.0.1, 10.0.0.2",00:11:22:33:44:55; 66-77-88-99-AA-BB,,"says ""hi"""',
  ].join('\n')
  assert.equal(csv(text), [
    {
      line: 2,
      input: {
        serial: 'SN/1',
        profile: 'edge',
        cluster: 'store',
        role: 'agent',
        hostname: 'box-1',
        identity: { kind: 'key', thumbprint: 'abc' },
        min_assurance: 'key',
        labels: { site: 'north' },
        vars: { ntp: '10.0.0.1, 10.0.0.2' },
        macs: ['00:11:22:33:44:55', '66-77-88-99-AA-BB'],
        note: 'says "hi"',
      },
    },
  ])
})

test('refuses one bad line and reads on', () => {
  const bytes = Buffer.concat([
    Buffer.from('serial,note\nA"B,x\n"C"x,y\nD,'),
    Buffer.from([0xff]),
    Buffer.from('\nE,\0\nF,ok\n'),
  ])
  const lines = csv(bytes)
  assert.equal(lines.slice(0, 4).map(reason), [
    '2: has a quote where none may stand',
    '3: has a quote where none may stand',
    '4: is not valid UTF-8',
    '5: note: holds control characters',
  ])
  assert.equal(lines[4], { line: 6, input: { serial: 'F', note: 'ok' } })
})

test('refuses a bad byte inside a quoted cell together with its whole record', () => {
  const bytes = Buffer.concat([
    Buffer.from('serial,note\nA,"x\n'),
    Buffer.from([0xc3, 0x28]),
    Buffer.from('\ny"\nB,\n'),
  ])
  assert.equal(csv(bytes).map(reason), ['2: is not valid UTF-8', undefined])
})

test('says where a quote was opened that nothing closes', () => {
  const why = 'opens a quote that is never closed: what follows was not read'
  assert.equal(csv('serial,note\nA,x\nB,"y\nC,z\n').map(reason), [undefined, `3: ${why}`])
  const endless = `serial,note\nB,"${'y\n'.repeat(maxLine)}C,z\n`
  assert.equal(csv(endless).map(reason), [`2: ${why}`])
})

test('skips a giant line without keeping it', () => {
  const why = `is longer than ${maxLine} bytes`
  assert.equal(csv(`serial,note\nA,${'x'.repeat(maxLine)}\nB,y\n`).map(reason), [`2: ${why}`, undefined])
  assert.equal(ndjson(`{"serial":"A","note":"${'x'.repeat(maxLine)}"}\n{"serial":"B"}`).map(reason), [
    `1: ${why}`,
    undefined,
  ])
})

test('reads one object a line, as the POST takes it', () => {
  const lines = ndjson(
    '\ufeff{"serial":"A","vars":{"n":[1,{"deep":true}]}}\r\n\n[]\n{"serial":"B","colour":"red"}\nnope\n"A"',
  )
  assert.equal(lines[0], { line: 1, input: { serial: 'A', vars: { n: [1, { deep: true }] } } })
  assert.equal(
    lines.slice(1).map((l) => [l.line, 'reason' in l]),
    [3, 4, 5, 6].map((n) => [n, true]),
  )
  assert.match(reason(lines[2]) ?? '', /colour/)
  assert.is(reason(lines[3]), '5: is not JSON')
})

test('refuses text that cannot be stored, and keys that are no plain keys', () => {
  for (const line of [
    '{"serial":"A","note":"\\u0000"}',
    '{"serial":"A","labels":{"a":"\\ud800"}}',
    '{"serial":"A","vars":{"__proto__":{"x":1}}}',
    '{"serial":"A","vars":["a"]}',
    '{"serial":"A","vars":{"a":{"b":"\\u0007"}}}',
    `{"serial":"A","vars":{"a":"${'x'.repeat(65_530)}"}}`,
    `{"serial":"A","vars":{"a":${'['.repeat(40)}${']'.repeat(40)}}}`,
    '{"serial":"A","identity":{"kind":"key"}}',
    '{"serial":"A","identity":{"kind":"key","pem":"x","thumbprint":"y"}}',
  ]) {
    assert.ok(reason(ndjson(line)[0]), line)
  }
  for (const name of ['__proto__', 'constructor', 'prototype']) {
    assert.match(reason(ndjson(`{"serial":"A","labels":{"${name}":"x"}}`)[0]) ?? '', /labels/)
    assert.match(reason(ndjson(`{"serial":"A","vars":{"a":[{"${name}":1}]}}`)[0]) ?? '', /reserved name/)
    for (const group of ['vars', 'labels']) {
      const path = `${group}.${name}`
      assert.equal(headerErrors(`serial,${path}\n`), [{ path, line: 1, reason: 'the name is reserved' }])
    }
  }
})

test('takes back every cell that was quoted as RFC 4180 says, however the bytes arrive', () => {
  const cell = fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\n', ' ', '😀'), maxLength: 12 })
  fc.assert(
    fc.property(fc.array(cell, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 9 }), (cells, piece) => {
      const quoted = cells.map((text, i) => `"SN${i}","${text.replaceAll('"', '""')}"`).join('\n')
      const lines = read(csvReader, `serial,note\n${quoted}\n`, piece)
      assert.equal(
        lines.map((l) => 'input' in l && (l.input.note ?? '')),
        cells.map((text) => text.trim()),
      )
    }),
  )
})

test('ends on any bytes, with lines in their order and within the file', () => {
  const bytes = fc.uint8Array({ maxLength: 200 })
  const soup = fc
    .array(fc.constantFrom('"', ',', '\n', '\r\n', 'A', 'serial,note\n', '\ufeff', '\0', '""'))
    .map((s) => Buffer.from(s.join('')))
  fc.assert(
    fc.property(fc.oneof(bytes, soup), fc.integer({ min: 1, max: 50 }), (tail, piece) => {
      for (const make of [csvReader, ndjsonReader]) {
        const body = Buffer.concat([Buffer.from('serial,note\n'), tail])
        const lines = read(make, body, piece).map((l) => l.line)
        assert.equal(
          lines,
          [...lines].sort((a, b) => a - b),
        )
        assert.ok(lines.every((n) => n >= 1 && n <= body.toString('latin1').split('\n').length))
        assert.equal(read(make, body), read(make, body, piece))
      }
    }),
  )
})
