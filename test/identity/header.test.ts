import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { Code } from '../../src/errors.ts'
import { algorithms } from '../../src/identity/algorithm.ts'
import { parseClaim, parseJoinProof } from '../../src/identity/claim.ts'
import { suite } from '../suite.ts'
import { refusedSilently } from './refusal.ts'
import { b64u, compact, header, kid, payload, published } from './spelling.ts'

const test = suite('a claim header')

const base = { alg: 'ES256', typ: 'ztp-claim+jwt' }
const refused = (value: unknown, code: Code) => refusedSilently(() => parseClaim(compact(value, payload)), code)
const without = (member: keyof typeof header) =>
  Object.fromEntries(Object.entries(header).filter(([name]) => name !== member))

test('refuses a typ that is missing, of another kind, or spelled otherwise', () => {
  refused(without('typ'), 'header_invalid')
  for (const typ of [
    'JWT',
    'ztp-join+jwt',
    'ZTP-CLAIM+JWT',
    'application/ztp-claim+jwt',
    'ztp-claim+jwt ',
    '',
    null,
    ['ztp-claim+jwt'],
  ])
    refused({ ...header, typ }, 'header_invalid')
})

test('refuses any other member, known to RFC 7515 or not, whatever its value', () => {
  const foreign = [
    'crit',
    'b64',
    'jku',
    'x5u',
    'x5t',
    'x5t#S256',
    'cty',
    'zip',
    'enc',
    'epk',
    'nonce',
    'trust_chain',
    'Alg',
    '',
    'toString',
  ]
  for (const member of foreign) refused({ ...header, [member]: null }, 'header_invalid')
  refused({ ...header, crit: ['b64'], b64: false }, 'header_invalid')
  refused(`{"alg":"ES256","typ":"ztp-claim+jwt","kid":"${kid}","__proto__":{"x5c":[]}}`, 'header_invalid')
})

test('refuses an alg that is missing, none, symmetric, weaker, of another curve or spelled otherwise', () => {
  refused(without('alg'), 'alg_not_allowed')
  const others = [
    'none',
    'None',
    'HS256',
    'HS384',
    'HS512',
    'ES512',
    'ES256K',
    'RS1',
    'RS384',
    'RS512',
    'PS384',
    'PS512',
    'Ed448',
    'es256',
    'ES256 ',
    '',
  ]
  for (const alg of [...others, null, 0, ['ES256'], { ES256: 1 }, 'toString'])
    refused({ ...header, alg }, 'alg_not_allowed')
})

test('refuses no key source, and two, even of null', () => {
  refused(base, 'header_key_source')
  refused({ ...header, jwk: published.ec }, 'header_key_source')
  refused({ ...header, x5c: ['MIIB'] }, 'header_key_source')
  refused({ ...base, jwk: published.ec, x5c: ['MIIB'] }, 'header_key_source')
  refused({ ...header, jwk: published.ec, x5c: ['MIIB'] }, 'header_key_source')
  refused({ ...header, jwk: null }, 'header_key_source')
})

test('reports in order: members and typ, alg, number of key sources, form of the one', () => {
  const private_ = { ...published.ec, d: 'AAAA' }
  refused({ alg: 'none', typ: 'JWT' }, 'header_invalid')
  refused({ alg: 'none', typ: base.typ, crit: ['x'] }, 'header_invalid')
  refused({ alg: 'none', typ: base.typ }, 'alg_not_allowed')
  refused({ alg: 'none', typ: base.typ, jwk: private_ }, 'alg_not_allowed')
  refused({ ...header, jwk: private_ }, 'header_key_source')
  refused({ ...base, jwk: private_ }, 'header_invalid')
})

test('comes before the payload', () => {
  refusedSilently(() => parseClaim(compact({ ...header, typ: 'JWT' }, { exp: 1 })), 'header_invalid')
  refusedSilently(() => parseClaim(compact(base, {})), 'header_key_source')
})

test('refuses a source in a wrong form', () => {
  for (const value of [null, 1, ['x'], { kid }]) refused({ ...base, kid: value }, 'header_invalid')
  for (const value of [null, 1, 'x', [], [published.ec], {}, { kty: 'EC' }])
    refused({ ...base, jwk: value }, 'header_invalid')
  for (const value of [null, 'MIIB', [], [1], [['MIIB']], {}, ['MIIB', null]])
    refused({ ...base, x5c: value }, 'header_invalid')
})

test('refuses a JWK with a private or symmetric member', () => {
  for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']) {
    refused({ ...base, jwk: { ...published.ec, [member]: 'AAAA' } }, 'header_invalid')
    refused({ ...base, alg: 'RS256', jwk: { ...published.rsa, [member]: null } }, 'header_invalid')
  }
  refused({ ...base, jwk: { kty: 'oct', k: 'AAAA' } }, 'header_invalid')
})

test('takes each allowed algorithm', () => {
  for (const alg of algorithms) assert.is(parseClaim(compact({ ...header, alg }, payload)).header.alg, alg)
  assert.equal(algorithms, ['ES256', 'ES384', 'EdDSA', 'Ed25519', 'RS256', 'PS256'])
})

test('leaves an alg that does not fit the key to the signature, as it must for a kid', () => {
  assert.is(parseClaim(compact({ ...base, alg: 'RS256', jwk: published.ec }, payload)).keySource.kind, 'jwk')
})

test('names the key by its thumbprint, given or worked out', () => {
  assert.equal(parseClaim(compact(header, payload)).keySource, { kind: 'kid', thumbprint: kid })
  const jwk = { kid: 'x', use: 'sig', ...published.okp }
  assert.equal(parseClaim(compact({ ...base, alg: 'EdDSA', jwk }, payload)).keySource, {
    kind: 'jwk',
    thumbprint: 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k',
    jwk: published.okp,
  })
  assert.equal(parseClaim(compact({ ...base, x5c: ['MIIB', 'MIIC'] }, payload)).keySource, {
    kind: 'x5c',
    chain: ['MIIB', 'MIIC'],
  })
})

test('lets a kid that cannot be a thumbprint match nothing, instead of reaching the database', () => {
  for (const text of [
    '',
    'device-1',
    '\0',
    '\ud800',
    `${kid}A`,
    `${kid.slice(0, -1)}F`,
    'é'.repeat(43),
    '='.repeat(43),
  ])
    assert.equal(parseClaim(compact({ ...base, kid: text }, payload)).keySource, { kind: 'kid', thumbprint: '' })
})

test('a claim is no join proof, and a join proof no claim', () => {
  const proof = { ...payload, ath: b64u(new Uint8Array(32)) }
  refusedSilently(() => parseJoinProof(compact(header, proof)), 'header_invalid')
  refusedSilently(() => parseClaim(compact({ ...header, typ: 'ztp-join+jwt' }, proof)), 'header_invalid')
  assert.is(parseJoinProof(compact({ ...header, typ: 'ztp-join+jwt' }, proof)).payload.ath, proof.ath)
})

test('no header of any shape gets past, or ends in anything but a silent refusal', () => {
  const sources = fc.record({ kid: fc.anything(), jwk: fc.anything(), x5c: fc.anything() }, { requiredKeys: [] })
  fc.assert(
    fc.property(
      fc.constantFrom(...algorithms, 'none', 'HS256'),
      sources,
      fc.oneof(fc.constant({}), fc.dictionary(fc.string(), fc.jsonValue())),
      (alg, some, more) => {
        const text = JSON.stringify({ ...more, ...some, alg, typ: base.typ }, (_, value) =>
          typeof value === 'bigint' ? 0 : value,
        )
        const given = JSON.parse(text) as Record<string, unknown>
        const counted = ['kid', 'jwk', 'x5c'].filter((name) => name in given)
        const foreign = Object.keys(given).length > 2 + counted.length
        if (foreign) refused(text, 'header_invalid')
        else if (!(algorithms as readonly string[]).includes(alg)) refused(text, 'alg_not_allowed')
        else if (counted.length !== 1) refused(text, 'header_key_source')
        else if (typeof given.kid !== 'string' && !Array.isArray(given.x5c)) refused(text, 'header_invalid')
      },
    ),
    { numRuns: 1_000 },
  )
})
