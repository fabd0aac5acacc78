import { createHook } from 'node:async_hooks'
import {
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
} from 'node:crypto'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { type Algorithm, algorithms, keyKindOf } from '../../src/identity/algorithm.ts'
import { type Claim, parseClaim } from '../../src/identity/claim.ts'
import { dummyVerify } from '../../src/identity/dummy-verify.ts'
import { importKey } from '../../src/identity/import-key.ts'
import { verifySignature } from '../../src/identity/verify.ts'
import { suite } from '../suite.ts'
import { type DeviceKey, newKey, signed } from './device-key.ts'
import { payload } from './spelling.ts'

const test = suite('a signature')

const devices = new Map<Algorithm, { key: DeviceKey; claim: Claim; publicKey: KeyObject }>()

test.before(async () => {
  for (const alg of algorithms) {
    const key = await newKey(alg)
    const claim = parseClaim(await signed(alg, key, payload))
    if (claim.keySource.kind !== 'jwk') throw new Error('the claim brings its key')
    devices.set(alg, { key, claim, publicKey: importKey(claim.keySource.jwk) as KeyObject })
  }
})

const device = (alg: Algorithm) => devices.get(alg) as { key: DeviceKey; claim: Claim; publicKey: KeyObject }
const verifies = (alg: Algorithm, key: KeyObject, claim: Claim, signature: Uint8Array = claim.signature) =>
  verifySignature(alg, key, claim.signingInput, signature)

test('of another device does not verify', async () => {
  for (const alg of algorithms) {
    const other = await newKey(alg)
    assert.is(await verifies(alg, other.publicKey, device(alg).claim), false, alg)
  }
})

test('does not verify over a changed text', async () => {
  for (const alg of algorithms) {
    const { claim, publicKey } = device(alg)
    const text = Buffer.from(claim.signingInput)
    text.writeUInt8(text.readUInt8(text.length - 1) ^ 1, text.length - 1)
    assert.is(await verifySignature(alg, publicKey, text, claim.signature), false, alg)
  }
})

test('does not verify with any byte changed, or with another length', async () => {
  for (const alg of algorithms) {
    const { claim, publicKey } = device(alg)
    const lengths = [0, 1, claim.signature.length - 1, claim.signature.length + 1, 72, 2048]
    for (const length of lengths.filter((n) => n !== claim.signature.length)) {
      const other = Buffer.alloc(length)
      other.set(claim.signature.subarray(0, length))
      assert.is(await verifies(alg, publicKey, claim, other), false, `${alg} with ${length} bytes`)
    }
    for (let at = 0; at < claim.signature.length; at += 7) {
      const other = Buffer.from(claim.signature)
      other.writeUInt8(other.readUInt8(at) ^ 0x80, at)
      assert.is(await verifies(alg, publicKey, claim, other), false, `${alg} at ${at}`)
    }
  }
})

test('does not verify with a key of another kind, whatever the header says', async () => {
  for (const alg of algorithms)
    for (const other of algorithms) {
      const fits = keyKindOf(alg) === keyKindOf(other)
      if (!fits)
        assert.is(await verifies(alg, device(other).publicKey, device(alg).claim), false, `${alg} with ${other}`)
    }
})

test('RS256 and PS256 of one key are not taken for each other', async () => {
  const { key } = device('RS256')
  const plain = parseClaim(await signed('RS256', key, payload))
  const pss = parseClaim(await signed('PS256', key, payload))
  assert.is(await verifies('PS256', key.publicKey, plain), false)
  assert.is(await verifies('RS256', key.publicKey, pss), false)
})

test('ECDSA in DER does not verify: a JWS holds r and s alone', async () => {
  const { claim, key } = device('ES256')
  const der = sign('sha256', claim.signingInput, { key: key.privateKey, dsaEncoding: 'der' })
  assert.is(await verifies('ES256', key.publicKey, claim, der), false)
})

test('ECDSA with r or s of zero, or not below the order, does not verify', async () => {
  const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex')
  const { claim, publicKey } = device('ES256')
  const halves = [Buffer.alloc(32), order, Buffer.alloc(32, 0xff), Buffer.from(claim.signature.subarray(0, 32))]
  for (const r of halves)
    for (const s of halves.slice(0, 3))
      assert.is(await verifies('ES256', publicKey, claim, Buffer.concat([r, s])), false)
})

test('PS256 with a salt of another length does not verify', async () => {
  const { claim, key } = device('PS256')
  for (const saltLength of [0, 20, 64]) {
    const other = sign('sha256', claim.signingInput, { key: key.privateKey, padding: 6, saltLength })
    assert.is(await verifies('PS256', key.publicKey, claim, other), false)
  }
})

test('with a private, secret or foreign key is false, not an error', async () => {
  const { claim, key } = device('ES256')
  const foreign = [
    key.privateKey,
    createSecretKey(Buffer.alloc(32)),
    generateKeyPairSync('x25519').publicKey,
    generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey,
    generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey,
  ]
  for (const other of foreign) for (const alg of algorithms) assert.is(await verifies(alg, other, claim), false)
})

test('is false for any signature of the right length, and never an error', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...algorithms),
      fc.uint8Array({ minLength: 256, maxLength: 256 }),
      async (alg, bytes) => {
        const { claim, publicKey } = device(alg)
        assert.is(await verifies(alg, publicKey, claim, bytes.subarray(0, claim.signature.length)), false)
      },
    ),
    { numRuns: 300 },
  )
})

test('of an honest device verifies, by each algorithm', async () => {
  for (const alg of algorithms) {
    const { claim, publicKey } = device(alg)
    assert.is(await verifies(alg, publicKey, claim), true, alg)
  }
})

test('of an RSA key up to 8192 bits verifies', async () => {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const claim = parseClaim(await signed('RS256', { publicKey, privateKey }, payload))
  assert.is(
    await verifies(
      'RS256',
      createPublicKey({ key: publicKey.export({ format: 'jwk' }) as JsonWebKey, format: 'jwk' }),
      claim,
    ),
    true,
  )
})

test('that nobody can check costs one verification on the pool, as a real one does', async () => {
  for (const alg of algorithms) {
    const { claim, publicKey } = device(alg)
    assert.is(await verificationsIn(() => verifies(alg, publicKey, claim)), 1, alg)
    assert.is(await verificationsIn(() => dummyVerify(alg, claim.signingInput)), 1, alg)
  }
})

async function verificationsIn(act: () => Promise<unknown>): Promise<number> {
  let count = 0
  const hook = createHook({
    init(_id, type) {
      if (type === 'SIGNREQUEST') count++
    },
  }).enable()
  await act().finally(() => hook.disable())
  return count
}
