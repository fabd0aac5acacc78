import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import * as assert from 'uvu/assert'
import { makeCa, makeLeaf, makeSelfSigned, newKey } from '../../src/tls/certificates.ts'
import { pinList, pinOf } from '../../src/tls/pins.ts'
import { suite } from '../suite.ts'

const now = 1_795_396_247
const ca = await makeCa(now)
const key = newKey()
const leaf = await makeLeaf(ca, key, ['localhost', 'roll.example', '127.0.0.1', '::1'], now)

const test = suite('certificates')

test('our authority lives for 20 years, from before any forgotten clock', () => {
  const certificate = new X509Certificate(ca.certificate)
  assert.is(new Date(certificate.validFrom).toISOString(), '2000-01-01T00:00:00.000Z')
  assert.is(new Date(certificate.validTo).getUTCFullYear(), new Date(now * 1000).getUTCFullYear() + 20)
  assert.is(certificate.ca, true)
  assert.is(certificate.verify(certificate.publicKey), true)
})

test('our certificate is the authority’s, for each name, and no authority itself', () => {
  const certificate = new X509Certificate(leaf)
  assert.is(certificate.checkIssued(new X509Certificate(ca.certificate)), true)
  assert.is(certificate.verify(new X509Certificate(ca.certificate).publicKey), true)
  assert.is(certificate.ca, false)
  assert.is(certificate.checkPrivateKey(createPrivateKey(key)), true)
  for (const name of ['localhost', 'roll.example']) assert.is(certificate.checkHost(name), name)
  for (const ip of ['127.0.0.1', '::1']) assert.is(certificate.checkIP(ip), ip)
  assert.is(certificate.checkHost('other.example'), undefined)
})

test('renewing keeps the key, and so the pin', async () => {
  const renewed = await makeLeaf(ca, key, ['localhost'], now + 1_000_000)
  assert.is.not(renewed, leaf)
  assert.is(pinOf(renewed), pinOf(leaf))
  assert.is(pinOf(key), pinOf(leaf))
})

test('the pins are the current key’s and the standby’s, as curl takes them', () => {
  const pins = pinList(key, newKey())
  assert.match(pins, /^sha256\/\/[A-Za-z0-9+/]{43}=;sha256\/\/[A-Za-z0-9+/]{43}=$/)
  assert.is(pins.split(';')[0], pinOf(key))
})

test('two authorities never share a name', async () => {
  assert.is.not(
    new X509Certificate((await makeCa(now)).certificate).subject,
    new X509Certificate(ca.certificate).subject,
  )
})

test('a client that trusts the authority alone gets through, one that trusts another does not', async () => {
  const server = createServer({ cert: leaf + ca.certificate, key }, (_, answer) => answer.end('ok'))
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const ask = (trusted: string) =>
    new Promise<string>((done) => {
      const options = { host: '127.0.0.1', port, ca: trusted, agent: false }
      request(options, (answer) => {
        answer.resume()
        done(String(answer.statusCode))
      })
        .on('error', (error: NodeJS.ErrnoException) => done(error.code ?? ''))
        .end()
    })
  assert.is(await ask(ca.certificate), '200')
  assert.match(await ask((await makeSelfSigned(['localhost'], now)).certificate), /SELF_SIGNED|UNABLE_TO_/)
  server.closeAllConnections()
  await new Promise((done) => server.close(done))
})
