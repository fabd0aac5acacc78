import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const

/** An authority that tests sign with. */
export type Authority = {
  name: string
  keys: webcrypto.CryptoKeyPair
  certificate: x509.X509Certificate
  pem: string
  der: Buffer
}

/** A certificate authority, signed by another one or by itself. */
export async function makeAuthority(name: string, issuer?: Authority): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto as never)
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  return certify(name, keys, issuer)
}

/** The same name and key, vouched for by somebody else. */
export async function certify(name: string, keys: webcrypto.CryptoKeyPair, issuer?: Authority): Promise<Authority> {
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomBytes(8).toString('hex'),
    subject: `CN=${name}`,
    issuer: `CN=${issuer?.name ?? name}`,
    notBefore: new Date('2000-01-01'),
    notAfter: new Date('2100-01-01'),
    signingAlgorithm: algorithm,
    publicKey: keys.publicKey,
    signingKey: (issuer?.keys ?? keys).privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create((issuer?.keys ?? keys).publicKey),
    ],
  })
  return { name, keys, certificate, pem: `${certificate.toString('pem')}\n`, der: Buffer.from(certificate.rawData) }
}
