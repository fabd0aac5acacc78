import { createPublicKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto'
import * as fc from 'fast-check'
import { calculateJwkThumbprint } from 'jose'
import * as assert from 'uvu/assert'
import { AppError } from '../../src/errors.ts'
import { algorithms } from '../../src/identity/algorithm.ts'
import { isThumbprint } from '../../src/identity/jwk.ts'
import { type IdentityInput, identityFromInput } from '../../src/identity/public-key.ts'
import { suite } from '../suite.ts'
import { jwkOf, newKey } from './device-key.ts'
import { refusalOf } from './refusal.ts'
import { b64u, kid, published } from './spelling.ts'

const test = suite('an identity that an admin gives')

const { ec, okp, rsa } = published
const pemOf = (jwk: object) =>
  createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string
const refused = (input: Omit<IdentityInput, 'kind'>, path: string, reason: RegExp) => {
  const refusal = refusalOf(() => identityFromInput({ kind: 'key', ...input }))
  assert.is(refusal.code, 'invalid')
  assert.is(refusal.errors?.length, 1)
  assert.is(refusal.errors?.[0]?.path, path)
  assert.match(refusal.errors?.[0]?.reason ?? '', reason)
  assert.is(refusal.detail, `${path}: ${refusal.errors?.[0]?.reason}`)
}
const jwk = (value: unknown, reason: RegExp) => refused({ jwk: value }, 'identity.jwk', reason)
const pem = (value: unknown, reason: RegExp) => refused({ pem: value }, 'identity.pem', reason)
const thumbprint = (value: unknown) => refused({ thumbprint: value }, 'identity.thumbprint', /RFC 7638/)

test('is refused without a key, and with two', () => {
  refused({}, 'identity', /exactly one/)
  refused({ jwk: ec, thumbprint: kid }, 'identity', /exactly one/)
  refused({ jwk: ec, pem: pemOf(ec) }, 'identity', /exactly one/)
})

test('is refused as a thumbprint of another length, hash or spelling', () => {
  const hex = Buffer.from(kid, 'base64url').toString('hex')
  for (const value of [
    '',
    kid.slice(1),
    `${kid}A`,
    `${kid}=`,
    `${kid.slice(0, -1)}F`,
    ` ${kid}`,
    hex,
    `sha256//${kid}`,
    1,
    null,
    [kid],
  ])
    thumbprint(value)
})

test('is refused as a JWK that is private or symmetric, and told so', () => {
  jwk({ ...ec, d: ec.x }, /private member "d"/)
  jwk({ ...rsa, p: 'AQAB' }, /private member "p"/)
  jwk({ kty: 'oct', k: 'AAAA' }, /private member "k"/)
})

test('is refused as a JWK of another kind or curve', () => {
  for (const value of [null, 'x', [], 1, {}, { kty: 'ec' }, { kty: 'AKP' }]) jwk(value, /JSON object|"kty"/)
  for (const crv of ['P-521', 'secp256k1', 'p-256', undefined]) jwk({ ...ec, crv }, /P-256 or P-384/)
  for (const crv of ['X25519', 'Ed448', 'ed25519']) jwk({ ...okp, crv }, /Ed25519/)
})

test('is refused as a JWK whose numbers have another length or a second spelling', () => {
  for (const x of [undefined, 1, '', ec.x.slice(1), `${ec.x}AA`, `${ec.x}=`, `AA${ec.x}`, `${ec.x.slice(0, -1)}V`]) {
    jwk({ ...ec, x }, /32 bytes/)
    jwk({ ...okp, x }, /32 bytes/)
  }
  jwk({ ...ec, crv: 'P-384' }, /48 bytes/)
  jwk({ ...rsa, n: `AA${rsa.n}` }, /leading zero|base64url/)
  jwk({ ...rsa, n: b64u(Buffer.concat([Buffer.from([0]), Buffer.from(rsa.n, 'base64url')])) }, /leading zero/)
  jwk({ ...rsa, e: 'AAEAAQ' }, /leading zero/)
  jwk({ ...rsa, e: '' }, /leading zero/)
})

test('is refused as a point off its curve', () => {
  jwk({ ...ec, y: ec.x }, /not a point/)
  jwk({ ...ec, x: b64u(Buffer.alloc(32)), y: b64u(Buffer.alloc(32)) }, /not a point/)
  jwk({ ...ec, x: b64u(Buffer.alloc(32, 0xff)) }, /not a point/)
  jwk({ ...okp, x: b64u(Buffer.concat([Buffer.from([2]), Buffer.alloc(31)])) }, /not a point/)
  // y = p + 3 is the point of y = 3 in a second spelling.
  jwk({ ...okp, x: b64u(Buffer.from(`f0${'ff'.repeat(30)}7f`, 'hex')) }, /not a point/)
  assert.is(
    identityFromInput({ kind: 'key', jwk: { ...okp, x: b64u(Buffer.from(`03${'00'.repeat(31)}`, 'hex')) } }).jwk?.kty,
    'OKP',
  )
})

test('is refused as an Ed25519 point under which anybody can sign', () => {
  const small = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000080',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff',
  ]
  for (const hex of small) jwk({ ...okp, x: b64u(Buffer.from(hex, 'hex')) }, /not a point/)
})

test('is refused as RSA below 2048 or above 8192 bits, even, or with a strange exponent', () => {
  const n = (bytes: number, top = 0x80) => {
    const modulus = Buffer.alloc(bytes, 0x55)
    modulus[0] = top
    return b64u(modulus)
  }
  jwk({ ...rsa, n: n(128) }, /at least 2048 bits, this one has 1024/)
  jwk({ ...rsa, n: n(256, 0x7f) }, /has 2047/)
  jwk({ ...rsa, n: n(1025, 0x01) }, /at most 8192 bits, this one has 8193/)
  jwk({ ...rsa, n: b64u(Buffer.alloc(256, 0x88)) }, /even/)
  for (const e of ['Aw', 'AQ', 'AQAA', b64u(Buffer.alloc(5, 0x01)), b64u(Buffer.alloc(256, 0x55))])
    jwk({ ...rsa, e }, /65537/)
  assert.is(identityFromInput({ kind: 'key', jwk: { ...rsa, n: n(1024) } }).jwk?.kty, 'RSA')
})

test('is refused as a PEM of something else, and told what to do instead', () => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const secret = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  for (const value of [
    secret,
    privateKey.export({ type: 'sec1', format: 'pem' }),
    secret + pemOf(ec),
    pemOf(ec) + secret,
    secret.slice(0, 40),
  ])
    pem(value, /private key.*-pubout/)
  const rsaPem = createPublicKey(pemOf(rsa)).export({ type: 'pkcs1', format: 'pem' })
  pem(rsaPem, /RSA PUBLIC KEY.*RSAPublicKey_in/)
  pem('-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----', /CERTIFICATE.*x509/)
  pem('-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----', /not a PUBLIC KEY/)
})

test('is refused as a PEM that is not one whole block', () => {
  const good = pemOf(ec)
  for (const value of [1, null, {}]) pem(value, /not a text/)
  for (const value of [
    '',
    'x',
    good.slice(0, -10),
    good.replace('BEGIN', 'BEGUN'),
    good + good,
    `x${good}`,
    good.replaceAll('\n', '\\n'),
    `${good}${' '.repeat(20_000)}`,
  ])
    pem(value, /not one PEM block/)
})

test('is refused as a PEM of a key that is damaged or of a kind not in use', () => {
  const spki = (kind: 'x25519' | 'ed448') =>
    generateKeyPairSync(kind as 'x25519').publicKey.export({ type: 'spki', format: 'pem' })
  const of = (curve: string) =>
    generateKeyPairSync('ec', { namedCurve: curve }).publicKey.export({ type: 'spki', format: 'pem' })
  const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' })
  for (const value of [spki('x25519'), spki('ed448'), of('P-521'), of('secp256k1'), of('brainpoolP256r1'), pss])
    pem(value, /P-256|Ed25519/)
  pem(pemOf(ec).replace('MFkw', 'MFkx'), /kind in use/)
  pem(
    generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'pem' }),
    /at least 2048/,
  )
  const point = Buffer.from(createPublicKey(pemOf(ec)).export({ type: 'spki', format: 'der' }))
  point.writeUInt8(point.readUInt8(point.length - 1) ^ 1, point.length - 1)
  pem(`-----BEGIN PUBLIC KEY-----\n${point.toString('base64')}\n-----END PUBLIC KEY-----\n`, /kind in use|not a point/)
})

test('anything at all ends in a key or in `invalid`', () => {
  const attempt = (input: object) => {
    try {
      identityFromInput({ kind: 'key', ...input })
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== 'invalid') throw error
    }
  }
  const some = fc.anything({ withNullPrototype: true, withBigInt: true })
  fc.assert(
    fc.property(fc.constantFrom('jwk', 'pem', 'thumbprint'), some, (form, value) => attempt({ [form]: value })),
    { numRuns: 1_000 },
  )
  const member = fc.constantFrom('kty', 'crv', 'x', 'y', 'n', 'e', 'd')
  fc.assert(
    fc.property(
      fc.constantFrom(ec, okp, rsa),
      member,
      fc.oneof(fc.string(), fc.base64String(), fc.jsonValue()),
      (key, name, value) => attempt({ jwk: { ...key, [name]: value } }),
    ),
    { numRuns: 1_000 },
  )
  const pems = [ec, okp, rsa].map(pemOf)
  fc.assert(
    fc.property(fc.constantFrom(...pems), fc.nat(700), fc.string({ maxLength: 3 }), (text, at, change) =>
      attempt({ pem: text.slice(0, at) + change + text.slice(at + change.length) }),
    ),
    { numRuns: 1_000 },
  )
})

test('as a thumbprint alone is kept without a key', () => {
  assert.equal(identityFromInput({ kind: 'key', thumbprint: kid }), { thumbprint: kid, jwk: null })
})

test('has every thumbprint in its one spelling', () => {
  const text = fc.string({
    unit: fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=\n'),
    minLength: 42,
    maxLength: 44,
  })
  const spelled = fc.uint8Array({ minLength: 31, maxLength: 33 }).map((bytes) => b64u(bytes))
  fc.assert(
    fc.property(
      fc.oneof(
        spelled,
        text,
        spelled.map((good) => `${good.slice(0, 42)}B`),
      ),
      (value) => {
        const bytes = Buffer.from(value, 'base64url')
        assert.is(isThumbprint(value), bytes.length === 32 && b64u(bytes) === value)
      },
    ),
    { numRuns: 1_000 },
  )
})

test('has the thumbprints of RFC 7638 and RFC 8037', () => {
  assert.is(identityFromInput({ kind: 'key', jwk: rsa }).thumbprint, 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
  assert.is(identityFromInput({ kind: 'key', jwk: okp }).thumbprint, 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k')
})

test('is the same key as JWK, with metadata and in any order, and as PEM, with any line ends', async () => {
  for (const alg of algorithms) {
    const key = jwkOf(await newKey(alg))
    const given = Object.fromEntries(Object.entries({ kid: 'x', use: 'sig', alg, ...key }).reverse())
    const fromJwk = identityFromInput({ kind: 'key', jwk: given })
    assert.is(fromJwk.thumbprint, await calculateJwkThumbprint(key as never), alg)
    assert.equal(fromJwk.jwk, key)
    for (const text of [pemOf(key), pemOf(key).replaceAll('\n', '\r\n'), `\n${pemOf(key).trim()}`])
      assert.equal(identityFromInput({ kind: 'key', pem: text }), fromJwk)
  }
})

test('is every honest Ed25519 key', () => {
  for (let i = 0; i < 100; i++) {
    const key = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' })
    assert.equal(identityFromInput({ kind: 'key', jwk: key }).jwk, { crv: 'Ed25519', kty: 'OKP', x: key.x })
  }
})
