import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { caHash } from '../../src/k3s/ca-hash.ts'
import { certify, makeAuthority } from '../fakes/certificates.ts'
import { suite } from '../suite.ts'

// What a real K3s v1.36.3+k3s1 served at /cacerts.
const served = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIBADAKBggqhkjOPQQDAjAjMSEwHwYDVQQDDBhrM3Mtc2Vy
dmVyLWNhQDE3OTUzOTYyNDcwHhcNMjYxMTIzMDAxMDQ3WhcNMzYxMTIwMDAxMDQ3
WjAjMSEwHwYDVQQDDBhrM3Mtc2VydmVyLWNhQDE3OTUzOTYyNDcwWTATBgcqhkjO
PQIBBggqhkjOPQMBBwNCAAQqkb7p6iD5uceId7ZL0L/7uIycS57LebUlIum3FcuP
E/vNv8vq3YCUfqs46+O5lXgrxGxR23p819ISggEVD7cEo0IwQDAOBgNVHQ8BAf8E
BAMCAqQwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUbiCWAEL/kgVF+jBnIOGV
Uu+FTw8wCgYIKoZIzj0EAwIDSQAwRgIhANCDuu4CN+JGAG1TsUAKBtrdbnkfd7Ui
MHb+mvtPvmZJAiEAoA4z0EUwqWmYH4GC4aTI7DiX8LDKVDhZOR5Ll2y2KYg=
-----END CERTIFICATE-----
`
const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex')
const hashOf = (text: string) => caHash(Buffer.from(text))

const test = suite('CA hash')

test('refuses what holds no certificate', () => {
  for (const text of ['', 'hello', served.replaceAll('CERTIFICATE', 'PUBLIC KEY'), served.slice(0, 200)]) {
    assert.is(hashOf(text), undefined)
  }
})

test('refuses a certificate that cannot be parsed, wherever it stands', () => {
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  assert.is(hashOf(broken), undefined)
  assert.is(hashOf(served + broken), undefined)
})

test('refuses more than a CA file can be', () => {
  assert.is(hashOf(served.repeat(17)), undefined)
  assert.is(hashOf(served + ' '.repeat(64 * 1024)), undefined)
})

test('says something or nothing of any bytes, and never throws', () => {
  const near = fc.array(fc.tuple(fc.nat(served.length - 1), fc.nat(255)), { maxLength: 4 }).map((edits) => {
    const bytes = Buffer.from(served)
    for (const [at, byte] of edits) bytes[at] = byte
    return bytes
  })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), near), (bytes) => /^([0-9a-f]{64}|undefined)$/.test(`${caHash(bytes)}`)),
  )
})

test('is SHA-256 of the exact bytes of a single certificate', () => {
  assert.is(hashOf(served), 'acbd2390cff4c4c08ca497c110d1e7c88d3e34339db32c379e2f2dc09d92c546')
  assert.is(hashOf(`${served}\n`), sha256(`${served}\n`))
})

test("is SHA-256 of the root's DER for a bundle, whatever stands between", async () => {
  const root = await makeAuthority('root')
  const middle = await makeAuthority('middle', root)
  const server = await makeAuthority('server', middle)
  const stranger = await makeAuthority('stranger')
  assert.is(hashOf(server.pem + middle.pem + root.pem), sha256(root.der))
  assert.is(hashOf(server.pem + stranger.pem + root.pem + middle.pem), sha256(root.der))
})

test('stays the same when the server CA is renewed under the same root', async () => {
  const root = await makeAuthority('root')
  const [before, after] = [await makeAuthority('server', root), await makeAuthority('server', root)]
  assert.is(hashOf(before.pem + root.pem), hashOf(after.pem + root.pem))
})

test('follows a cross-signed certificate to the root that is there', async () => {
  const [oldRoot, newRoot] = [await makeAuthority('old'), await makeAuthority('new')]
  const server = await makeAuthority('server', newRoot)
  const crossed = await certify('new', newRoot.keys, oldRoot)
  assert.is(hashOf(server.pem + crossed.pem + oldRoot.pem), sha256(oldRoot.der))
})

test('takes a first certificate that stands there twice for its own root', async () => {
  const root = await makeAuthority('root')
  assert.is(hashOf(root.pem + root.pem), sha256(root.der))
})

test('is SHA-256 of the bytes of a bundle that leads to no root', async () => {
  const [one, other] = [await makeAuthority('one'), await makeAuthority('other')]
  assert.is(hashOf(one.pem + other.pem), sha256(one.pem + other.pem))
  const child = await makeAuthority('child', one)
  const forged = await makeAuthority('one')
  assert.is(hashOf(child.pem + forged.pem), sha256(child.pem + forged.pem))
})
