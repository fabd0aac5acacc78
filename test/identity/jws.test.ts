import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { AppError } from '../../src/errors.ts'
import { parseClaim } from '../../src/identity/claim.ts'
import { sizeLimit } from '../../src/identity/jws.ts'
import { suite } from '../suite.ts'
import { refusedSilently } from './refusal.ts'
import { b64u, compact, header, payload } from './spelling.ts'

const test = suite('one compact JWS')

const good = compact(header, payload).toString()
const [h, p, s] = good.split('.') as [string, string, string]
const malformed = (text: string | Uint8Array) => refusedSilently(() => parseClaim(Buffer.from(text)), 'claim_malformed')

test('refuses another number of parts, or an empty one', () => {
  const texts = [
    '',
    '.',
    '..',
    '...',
    h,
    `${h}.${p}`,
    `${h}.${p}.`,
    `.${p}.${s}`,
    `${h}..${s}`,
    `${good}.`,
    `${good}.${s}`,
  ]
  for (const text of texts) malformed(text)
})

test('refuses white space, a byte order mark and line ends around or in it', () => {
  for (const text of [
    ` ${good}`,
    `${good}\n`,
    `${good}\r\n`,
    `\ufeff${good}`,
    `${h}. ${p}.${s}`,
    `${h}.${p}\n.${s}`,
    `${good}\0`,
  ])
    malformed(text)
})

test('refuses padding, and the alphabet of plain base64', () => {
  const texts = [
    `${h}==.${p}.${s}`,
    `${h}.${p}=.${s}`,
    `${h}.${p}.AA==`,
    `${h}.${p}.AA+A`,
    `${h}.${p}.AA/A`,
    `${h}.${p}.AA%41`,
  ]
  for (const text of texts) malformed(text)
})

test('refuses a second spelling of the same bytes', () => {
  // One byte takes two characters, of which the last four bits must be zero; two bytes three, last two bits.
  for (const signature of ['AB', 'AP', 'AAB', 'AAD', 'A', 'AAAAA']) malformed(`${h}.${p}.${signature}`)
  for (const signature of ['AA', 'AQ', 'AAA', 'AAE', 'AAAA']) parseClaim(Buffer.from(`${h}.${p}.${signature}`))
})

test('takes one of the 16 last characters that name the same bytes', () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const spaced = b64u(`${JSON.stringify(header)}   `)
  const part = spaced.slice(0, spaced.length - (spaced.length % 4) + 2)
  assert.is(part.length % 4, 2)
  const accepted = [...alphabet].filter((last) => {
    try {
      return parseClaim(Buffer.from(`${part.slice(0, -1)}${last}.${p}.${s}`)).payload.sub === payload.sub
    } catch {
      return false
    }
  })
  assert.equal(accepted, ['A'])
})

test('refuses bytes that are no UTF-8, and a byte order mark in the JSON', () => {
  for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf5, 0x80, 0x80, 0x80]]) {
    malformed(compact(header, Buffer.from([...Buffer.from('{"sub":"'), ...bytes, ...Buffer.from('"}')])))
  }
  malformed(compact(`\ufeff${JSON.stringify(header)}`, payload))
  malformed(compact(header, `\ufeff${JSON.stringify(payload)}`))
})

test('refuses what is JSON but no object, and what is no JSON', () => {
  for (const json of [
    'null',
    'true',
    '1',
    '"x"',
    '[]',
    `[${JSON.stringify(payload)}]`,
    '',
    '{',
    '{}{}',
    '{a:1}',
    "{'a':1}",
    '{"a":1,}',
    'NaN',
  ])
    malformed(compact(header, json))
  for (const json of ['null', '[]', '"x"', '{"alg":}']) malformed(compact(json, payload))
})

test('refuses the JSON forms of a JWS', () => {
  malformed(JSON.stringify({ protected: h, payload: p, signature: s }))
  malformed(JSON.stringify({ payload: p, signatures: [{ protected: h, signature: s }] }))
})

test('refuses a member named twice, at any depth and however spelled', () => {
  const twice = (text: string) => malformed(compact(header, text))
  twice('{"sub":"a","sub":"a"}')
  twice('{"sub":"a","\\u0073ub":"b"}')
  twice('{"sub" : 1 , "x":{}, "sub"\n:2}')
  twice('{"x":[{"a":{"b":1,"b":2}}]}')
  twice('{"__proto__":1,"__proto__":2}')
  malformed(compact(`{"alg":"ES256","typ":"ztp-claim+jwt","kid":"a","kid":"b"}`, payload))
  malformed(compact(`{"alg":"none","alg":"ES256","typ":"ztp-claim+jwt","kid":"a"}`, payload))
})

test('takes names that only look like a second one', () => {
  const more = JSON.stringify({
    a: { sub: 1 },
    b: [{ sub: 1 }, { sub: 2 }],
    c: 'sub',
    'su"b': 1,
    '{"sub"': '"sub":1,"sub":2',
  })
  const text = `${JSON.stringify(payload).slice(0, -1)},${more.slice(1)}`
  assert.is(parseClaim(compact(header, text)).payload.sub, payload.sub)
})

test('an empty signature is the mark of alg none, which is refused by name', () => {
  refusedSilently(() => parseClaim(compact({ ...header, alg: 'none' }, payload, '')), 'alg_not_allowed')
  malformed(compact(header, payload, ''))
})

test('is too large above 16 KiB, whatever else is wrong with it', () => {
  const filled = (size: number) => {
    const bytes = (fill: number) => compact(header, { ...payload, fill: 'x'.repeat(fill) })
    return bytes(Math.floor(((size - bytes(0).length) * 3) / 4))
  }
  const fits = Buffer.concat([filled(sizeLimit.plain - 8), Buffer.from('AAAA')])
  assert.ok(fits.length <= sizeLimit.plain && fits.length > sizeLimit.plain - 8)
  parseClaim(fits)
  const tooLarge = (bytes: Uint8Array) => refusedSilently(() => parseClaim(bytes), 'claim_too_large')
  tooLarge(filled(sizeLimit.plain + 8))
  for (const fill of ['.', 'A', '{', '\0', '\xff']) {
    tooLarge(Buffer.alloc(sizeLimit.plain + 1, fill, 'latin1'))
    malformed(Buffer.alloc(sizeLimit.plain, fill, 'latin1'))
  }
  tooLarge(Buffer.from(`${h}.${b64u('x'.repeat(15_000))}.${s}`))
})

test('has 32 KiB where the header shows a chain, and is too large above that, chain or not', () => {
  const chained = (fill: number) => compact({ alg: 'ES256', typ: 'ztp-claim+jwt', x5c: ['M'.repeat(fill)] }, payload)
  assert.is(parseClaim(chained(20_000)).keySource.kind, 'x5c')
  assert.ok(chained(20_000).length > sizeLimit.plain)
  refusedSilently(() => parseClaim(chained(25_000)), 'claim_too_large')
  refusedSilently(() => parseClaim(Buffer.alloc(sizeLimit.x5c + 1, '.')), 'claim_too_large')
  refusedSilently(() => parseClaim(compact({ ...header, x5c: ['M'.repeat(20_000)] }, payload)), 'header_key_source')
  // Inherited names do not count as shown.
  refusedSilently(() => parseClaim(compact({ ...header, kid: 'M'.repeat(20_000) }, payload)), 'claim_too_large')
  refusedSilently(
    () => parseClaim(compact(`{"__proto__":{"x5c":["${'M'.repeat(20_000)}"]}}`, payload)),
    'claim_too_large',
  )
})

test('survives the deepest nesting that fits', () => {
  const depth = 5_900
  const text = `${JSON.stringify(payload).slice(0, -1)},"deep":${'['.repeat(depth)}${']'.repeat(depth)}}`
  assert.is(parseClaim(compact(header, text)).payload.sub, payload.sub)
  const objects = `${JSON.stringify(payload).slice(0, -1)},"deep":${'{"a":'.repeat(1_900)}1${'}'.repeat(1_900)}}`
  assert.is(parseClaim(compact(header, objects)).payload.sub, payload.sub)
})

test('keeps the signed text and the hash of the bytes as they came', () => {
  const spaced = compact(`{ "kid":"${header.kid}",\n"typ":"ztp-claim+jwt", "alg":"ES256" }`, payload)
  const claim = parseClaim(spaced)
  assert.is(Buffer.from(claim.signingInput).toString(), spaced.toString().replace(/\.[^.]*$/, ''))
  assert.equal(claim.signature, Buffer.from([0, 0, 0]))
  assert.is.not(claim.hash.toString('hex'), parseClaim(compact(header, payload)).hash.toString('hex'))
})

test('any bytes at all end in a claim or in a silent refusal', () => {
  const refusedOrRead = (bytes: Uint8Array) => {
    try {
      parseClaim(bytes)
    } catch (error) {
      if (!(error instanceof AppError) || error.detail !== undefined || error.errors !== undefined) throw error
    }
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), refusedOrRead), { numRuns: 2_000 })
  fc.assert(
    fc.property(fc.json(), fc.json(), (a, b) => refusedOrRead(compact(a, b))),
    { numRuns: 2_000 },
  )
  const change = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) })
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = Buffer.from(good)
      for (const { at, byte } of changes) bytes[at] = byte
      refusedOrRead(bytes)
    }),
    { numRuns: 5_000 },
  )
})
