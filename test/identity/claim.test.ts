import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { Code } from '../../src/errors.ts'
import { parseClaim, parseJoinProof } from '../../src/identity/claim.ts'
import { suite } from '../suite.ts'
import { refusalOf, refusedSilently } from './refusal.ts'
import { b64u, compact, header, payload, published } from './spelling.ts'

const test = suite('a claim payload')

const refused = (value: unknown, code: Code) => refusedSilently(() => parseClaim(compact(header, value)), code)
const read = (more: Record<string, unknown>) => parseClaim(compact(header, { ...payload, ...more })).payload
const bad = (more: Record<string, unknown>) => refused({ ...payload, ...more }, 'claim_schema')

test('refuses device times, whatever their value, before it looks at the rest', () => {
  for (const value of [0, 4_102_444_800, null, 'x']) {
    refused({ ...payload, exp: value }, 'device_time_claim')
    refused({ ...payload, nbf: value }, 'device_time_claim')
  }
  refused({ exp: 1 }, 'device_time_claim')
})

test('refuses a payload without one of sub, aud, eat_nonce, jti', () => {
  refused({}, 'claim_schema')
  for (const member of Object.keys(payload)) {
    bad({ [member]: undefined })
    for (const value of [null, 1, true, [], {}, ['SN-0001']]) bad({ [member]: value })
  }
  refused(
    '{"__proto__":{"sub":"SN-0001","aud":"a","eat_nonce":"n","jti":"00112233445566778899aabbccddeeff"}}',
    'claim_schema',
  )
})

test('refuses an aud that is a list, even of the one right string', () => {
  bad({ aud: [payload.aud] })
})

test('refuses a sub that can be on no roll', () => {
  for (const sub of [
    '',
    ' SN-1',
    'SN-1 ',
    'SN  1',
    '-',
    '...',
    'SN\0',
    'SN\n1',
    'SN*',
    'é',
    'A'.repeat(65),
    '../x?',
    '\ud800',
  ])
    bad({ sub })
  for (const sub of ['1', 'A'.repeat(64), 'SN 1', 'VMware-56 4d 0a:/+&#._-', 'a b c']) assert.is(read({ sub }).sub, sub)
})

test('refuses a jti that cannot carry 128 bits', () => {
  for (const jti of [
    '',
    '1',
    'a'.repeat(31),
    'A'.repeat(31),
    '0123-4567-89ab-cdef-0123-4567-89ab-cde',
    'x'.repeat(21),
    '-'.repeat(40),
  ])
    bad({ jti })
  for (const jti of ['x'.repeat(22).concat('\n'), 'é'.repeat(30), ' '.repeat(40), 'x'.repeat(257)]) bad({ jti })
  const good = [
    '00112233445566778899aabbccddeeff',
    '123e4567-e89b-42d3-a456-426614174000',
    'ABEiM0RVZneImaq7zN3u_w',
    '01J9Z3NDEKTSV4RRFFQ69G5FAV',
  ]
  for (const jti of good) assert.is(read({ jti }).jti, jti)
})

test('refuses numbers that are none, or that nothing can keep', () => {
  for (const value of ['1', null, true, [], {}])
    for (const member of ['iat', 'uptime', 'bootcount']) bad({ [member]: value })
  for (const value of [-1, 1.5, 1e300, 2 ** 53]) bad({ bootcount: value })
  bad({ uptime: -1 })
  const spelled = (text: string) => `${JSON.stringify(payload).slice(0, -1)},${text}}`
  for (const text of ['"iat":1e999', '"iat":-1e999', '"iat":1e300', '"uptime":1e999', `"bootcount":${'9'.repeat(400)}`])
    refused(spelled(text), 'claim_schema')
})

test('takes any clock in iat: it decides nothing', () => {
  for (const iat of [0, -1, 1.5, 1_795_396_247, 4_102_444_800]) assert.is(read({ iat }).iat, iat)
})

test('refuses hw, tpm and cnf that are no objects', () => {
  for (const member of ['hw', 'tpm', 'cnf'])
    for (const value of [null, [], [{}], 'x', 1, true]) bad({ [member]: value })
})

test('takes any object as tpm, and keeps it for whoever can read it', () => {
  assert.equal(read({ tpm: {} }).tpm, {})
  assert.equal(read({ tpm: { ek_pub: [1] } }).tpm, { ek_pub: [1] })
})

test('refuses a cnf that brings anything but a public key', () => {
  bad({ cnf: { jwk: { ...published.ec, d: 'AAAA' } } })
  bad({ cnf: { jwk: null } })
  assert.equal(read({ cnf: { jwk: published.ec } }).cnf, { jwk: published.ec })
})

test('keeps the hints of hw that it knows, if they are text that a database can keep', () => {
  const hw = { vendor: 'ACME Ünïcode 😀', product: '', serial: 'SN-0001', uuid: 'x', macs: ['52:54:00:12:34:56'] }
  assert.equal(read({ hw: { ...hw, other: {} } }).hw, hw)
  for (const value of ['\0', 'a\0b', '\ud83d', '\ude00x', 'x'.repeat(257), 1, null]) {
    bad({ hw: { product: value } })
    bad({ hw: { macs: [value] } })
  }
  bad({ hw: { macs: 'x' } })
  bad({ hw: { macs: new Array(65).fill('x') } })
})

test('drops unknown members', () => {
  const more = { eat_profile: 'x', ueid: [], nonce: 1, admin: true, iss: null }
  assert.equal(read(more), payload)
  const spelled = `${JSON.stringify(payload).slice(0, -1)},"__proto__":{"tpm":{},"uptime":1},"constructor":1}`
  const parsed = parseClaim(compact(header, spelled)).payload
  assert.equal(parsed, payload)
  assert.is(parsed.uptime, undefined)
  assert.is(parsed.tpm, undefined)
})

test('tells the log which member is wrong, and nothing of what it held', () => {
  const cause = String(
    refusalOf(() => parseClaim(compact(header, { ...payload, sub: 'secret*', uptime: 'hidden' }))).cause,
  )
  assert.is(cause, 'sub: invalid_format; uptime: invalid_type')
})

test('a join proof needs aud, eat_nonce and jti as text; a sub or ath that is none is a wrong one, for the redeem to refuse', () => {
  const proof = { sub: 'any text', aud: 'a', eat_nonce: '', jti: payload.jti, ath: 'x' }
  const join = { ...header, typ: 'ztp-join+jwt' }
  assert.equal(parseJoinProof(compact(join, { ...proof, uptime: 'ignored' })).payload, proof)
  for (const member of ['sub', 'ath'])
    for (const value of [undefined, 1, null, []])
      assert.equal(parseJoinProof(compact(join, { ...proof, [member]: value })).payload, { ...proof, [member]: '' })
  for (const member of ['aud', 'eat_nonce', 'jti']) {
    refusedSilently(() => parseJoinProof(compact(join, { ...proof, [member]: undefined })), 'claim_schema')
    refusedSilently(() => parseJoinProof(compact(join, { ...proof, [member]: [] })), 'claim_schema')
  }
  refusedSilently(() => parseJoinProof(compact(join, { ...proof, exp: 1 })), 'device_time_claim')
  refusedSilently(() => parseJoinProof(compact(join, { ...proof, jti: '1' })), 'claim_schema')
  refusedSilently(() => parseJoinProof(Buffer.from(b64u('x'))), 'claim_malformed')
})

test('no payload of any shape ends in anything but a claim or a silent refusal', () => {
  const names = fc.constantFrom('sub', 'aud', 'eat_nonce', 'jti', 'iat', 'uptime', 'bootcount', 'hw', 'tpm', 'cnf')
  fc.assert(
    fc.property(names, fc.jsonValue(), (name, value) => {
      const bytes = compact(header, { ...payload, [name]: value })
      try {
        parseClaim(bytes)
      } catch {
        refusedSilently(() => parseClaim(bytes), 'claim_schema')
      }
    }),
    { numRuns: 2_000 },
  )
})
