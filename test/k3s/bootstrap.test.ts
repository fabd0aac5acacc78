import { createCipheriv, pbkdf2Sync, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { bootstrapName, openBootstrap } from '../../src/k3s/bootstrap.ts'
import { caHash } from '../../src/k3s/ca-hash.ts'
import { makeAuthority } from '../fakes/certificates.ts'
import { suite } from '../suite.ts'

const token = 'f0'.repeat(32)

/** Seals as K3s does (pkg/cluster/encrypt.go). */
function seal(plain: string, { salt = '0011223344556677', nonce = 12 } = {}): Buffer {
  const key = pbkdf2Sync(token, salt, 4096, 32, 'sha1')
  const iv = randomBytes(nonce)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const sealed = Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  return Buffer.from(`${salt}:${sealed.toString('base64')}`)
}

const filesOf = (serverCa: string) =>
  JSON.stringify({
    ServerCA: { Timestamp: '2026-11-23T00:10:47Z', Content: Buffer.from(serverCa).toString('base64') },
    ServerCAKey: { Timestamp: '2026-11-23T00:10:47Z', Content: 'c2VjcmV0' },
  })

const test = suite('bootstrap row')

test('refuses a value of another token', async () => {
  const { pem } = await makeAuthority('server')
  assert.equal(await openBootstrap(seal(filesOf(pem)), 'ee'.repeat(32)), { trouble: 'not of this token' })
})

test('refuses a value that was changed', async () => {
  const value = seal(filesOf((await makeAuthority('server')).pem)).toString()
  const changed = value.replace(/.(?=.{8}$)/, (c) => (c === 'A' ? 'B' : 'A'))
  assert.equal(await openBootstrap(Buffer.from(changed), token), { trouble: 'not of this token' })
})

test('refuses what is not of the form that K3s writes', async () => {
  for (const text of ['', ':', 'aa', 'aa:', ':AAAA', 'aa:AAAA', 'zz:'.padEnd(99, 'A'), `aa:${'A'.repeat(60)}!`]) {
    assert.equal(await openBootstrap(Buffer.from(text), token), { trouble: 'malformed' }, text)
  }
  assert.equal(await openBootstrap(seal('{}', { salt: 'ab'.repeat(33) }), token), { trouble: 'malformed' })
})

test('refuses what is larger than K3s writes, before it works on it', async () => {
  assert.equal(await openBootstrap(Buffer.alloc(256 * 1024 + 1, 'a'), token), { trouble: 'too large' })
})

test('refuses what holds no server CA', async () => {
  for (const plain of ['[]', 'null', '7', '{', '{}', '{"ServerCA":7}', '{"ServerCA":{"Content":7}}', filesOf('x')]) {
    assert.equal(await openBootstrap(seal(plain), token), { trouble: 'no server CA' }, plain)
  }
})

test('says what is wrong of any bytes, and never throws', async () => {
  const near = fc.tuple(fc.stringMatching(/^[0-9a-f]{0,20}$/), fc.base64String()).map((parts) => parts.join(':'))
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.string(), near),
      async (text) => 'trouble' in (await openBootstrap(Buffer.from(text), token)),
    ),
    { numRuns: 60 },
  )
})

test('names the row as K3s does: the first 12 hex digits of SHA-256 of the bare token', () => {
  assert.is(bootstrapName('hello'), '/bootstrap/2cf24dba5fb0')
})

test("gives the servers' CA and its hash, and nothing else of the cluster's keys", async () => {
  const { pem } = await makeAuthority('server')
  const opened = await openBootstrap(seal(filesOf(pem)), token)
  assert.equal(opened, { caHash: caHash(Buffer.from(pem)) as string, serverCa: Buffer.from(pem) })
})
