import 'reflect-metadata'
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import * as x509 from '@peculiar/x509'

x509.cryptoProvider.set(webcrypto as never)

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const year = 365.25 * 24 * 3600

/** Before any clock that a battery forgot: those wake in 2000 or later. PROTOCOL.md, "Listeners, addresses, TLS". */
const notBefore = new Date('2000-01-01T00:00:00Z')

/** PEM. */
export type Pair = { certificate: string; key: string }

/** A new P-256 private key, PKCS #8 PEM. */
export function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

/**
 * A private certificate authority, for 20 years.
 * @param now Unix seconds
 */
export async function makeCa(now: number): Promise<Pair> {
  const key = newKey()
  const keys = await importPair(key)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    // Two installations' authorities in one trust store must not share a name.
    name: `CN=Rollcall CA ${randomBytes(4).toString('hex')}`,
    notBefore,
    notAfter: after(now, 20),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificate: pem(certificate), key }
}

/** Years that a leaf is good for; it is renewed long before (server.ts). */
const leafYears = 2

/**
 * A server certificate under the authority.
 * @param key the server's own, PEM: renewing keeps it, since devices pin it
 * @param names host names and IP addresses
 * @param now Unix seconds
 */
export async function makeLeaf(ca: Pair, key: string, names: readonly string[], now: number): Promise<string> {
  const authority = new x509.X509Certificate(ca.certificate)
  const { publicKey } = await importPair(key)
  const { privateKey: signingKey } = await importPair(ca.key)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=Rollcall',
    issuer: authority.subject,
    notBefore,
    notAfter: after(now, leafYears),
    signingAlgorithm: algorithm,
    publicKey,
    signingKey,
    extensions: [
      ...serverExtensions(names),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
    ],
  })
  return pem(certificate)
}

/** A certificate that only vouches for itself, e.g. for the embedded PostgreSQL: its clients trust exactly it. */
export async function makeSelfSigned(names: readonly string[], now: number): Promise<Pair> {
  const key = newKey()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: 'CN=Rollcall PostgreSQL',
    notBefore,
    notAfter: after(now, 20),
    signingAlgorithm: algorithm,
    keys: await importPair(key),
    extensions: serverExtensions(names),
  })
  return { certificate: pem(certificate), key }
}

function serverExtensions(names: readonly string[]): x509.Extension[] {
  return [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
    new x509.SubjectAlternativeNameExtension(
      names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
    ),
  ]
}

async function importPair(key: string) {
  const privateKey = createPrivateKey(key)
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' })
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
  }
}

// Positive and not shorter than it looks: the first byte is 0x01–0x7f.
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01
  return bytes.toString('hex')
}

const after = (now: number, years: number) => new Date((now + years * year) * 1000)
const pem = (certificate: x509.X509Certificate) => `${certificate.toString('pem').trim()}\n`
