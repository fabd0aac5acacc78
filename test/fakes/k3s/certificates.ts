import 'reflect-metadata'
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto as never)

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const hour = 3_600_000
const day = 24 * hour

/** PEM. */
export type Pair = { certificate: string; key: string }

export type Subject = { user: string; groups?: readonly string[] }
type Usage = { client?: boolean; server?: boolean; names?: readonly string[] }

/** An authority as K3s makes it: `name` = k3s-server-ca, k3s-client-ca, …; ten years. */
export async function makeAuthority(name: string): Promise<Pair> {
  const key = newKey()
  const keys = await importPair(key)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '00',
    name: `CN=${name}@${Math.floor(Date.now() / 1000)}`,
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + 3650 * day),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment | x509.KeyUsageFlags.keyCertSign,
        true,
      ),
      new x509.BasicConstraintsExtension(true, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: pem(certificate), key }
}

/** A key and its certificate, for a year. */
export async function makeLeaf(authority: Pair, subject: Subject, usage: Usage): Promise<Pair> {
  const key = newKey()
  return { certificate: await sign(authority, (await importPair(key)).publicKey, subject, usage), key }
}

/** A certificate for the key in a request; whom the request names does not count. @param request PKCS #10, DER @throws Error */
export async function signRequest(
  authority: Pair,
  request: Uint8Array,
  subject: Subject,
  usage: Usage,
): Promise<string> {
  const parsed = new x509.Pkcs10CertificateRequest(new Uint8Array(request))
  if (!(await parsed.verify())) throw new Error('the request is not signed by its key')
  return sign(authority, await parsed.publicKey.export(), subject, usage)
}

/** A request with an empty subject, as agents send it. @returns DER, and the key in PEM */
export async function makeRequest(): Promise<{ request: Buffer; key: string }> {
  const key = newKey()
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    keys: await importPair(key),
    signingAlgorithm: algorithm,
  })
  return { request: Buffer.from(request.rawData), key }
}

async function sign(authority: Pair, publicKey: webcrypto.CryptoKey, subject: Subject, usage: Usage): Promise<string> {
  const issuer = new x509.X509Certificate(authority.certificate)
  const purposes = [
    ...(usage.client ? [x509.ExtendedKeyUsage.clientAuth] : []),
    ...(usage.server ? [x509.ExtendedKeyUsage.serverAuth] : []),
  ]
  const names = (usage.names ?? []).map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value }))
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: `4${randomBytes(8).toString('hex').slice(1)}`,
    subject: [...(subject.groups ?? []).map((group) => ({ O: [group] })), { CN: [subject.user] }],
    issuer: issuer.subject,
    notBefore: new Date(Date.now() - hour),
    notAfter: new Date(Date.now() + 365 * day),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey: (await importPair(authority.key)).privateKey,
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
      new x509.ExtendedKeyUsageExtension(purposes),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
    ],
  })
  return pem(certificate)
}

function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

async function importPair(key: string): Promise<webcrypto.CryptoKeyPair> {
  const { subtle } = webcrypto
  const privateKey = createPrivateKey(key).export({ type: 'pkcs8', format: 'der' })
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' })
  return {
    privateKey: await subtle.importKey('pkcs8', privateKey, algorithm, false, ['sign']),
    publicKey: await subtle.importKey('spki', publicKey, algorithm, true, ['verify']),
  }
}

const pem = (certificate: x509.X509Certificate) => `${certificate.toString('pem').trim()}\n`
