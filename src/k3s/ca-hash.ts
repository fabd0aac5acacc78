import 'reflect-metadata'
import { createHash, X509Certificate } from 'node:crypto'
import * as x509 from '@peculiar/x509'

/** Bytes of a CA file, and certificates in it: K3s' own holds one of about 600 bytes. */
const mostBytes = 64 * 1_024
const mostCertificates = 16
/** Signatures that one search for a root may check: a bundle can be made to need many. */
const mostChecks = 64

/** A certificate with what the search for its root asks of it. */
type Certificate = { raw: Buffer; x509: X509Certificate; root: boolean }

/**
 * The hash in a `K10<hash>::…` token, as K3s computes it from what `/cacerts` serves (K3s pkg/clientaccess/token.go, hashCA): of a single
 * certificate, SHA-256 of the exact bytes; of a bundle, SHA-256 of the DER of the root that its first certificate leads to, and of
 * the exact bytes again if it leads to none.
 * @param pem of unknown origin
 * @returns 64 hex digits; undefined if this is no PEM of certificates
 */
export function caHash(pem: Uint8Array): string | undefined {
  if (pem.length > mostBytes) return undefined
  const certificates = readCertificates(Buffer.from(pem).toString('latin1'))
  if (!certificates) return undefined
  const [first, ...rest] = certificates
  const root = first && rest.length > 0 ? findRoot(first, rest) : undefined
  return createHash('sha256')
    .update(root ?? pem)
    .digest('hex')
}

function readCertificates(text: string): Certificate[] | undefined {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g) ?? []
  if (blocks.length === 0 || blocks.length > mostCertificates) return undefined
  try {
    return blocks.map(readCertificate)
  } catch {
    return undefined
  }
}

function readCertificate(block: string): Certificate {
  const certificate = new X509Certificate(block)
  return { raw: certificate.raw, x509: certificate, root: isRoot(certificate.raw) }
}

// As K3s decides it: no authority key id, or its own.
function isRoot(raw: Buffer): boolean {
  const certificate = new x509.X509Certificate(raw)
  const authority = certificate.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId
  const own = certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId
  return authority === undefined || authority === own
}

/** @returns DER of the root at the end of the first chain found */
function findRoot(first: Certificate, others: readonly Certificate[]): Buffer | undefined {
  let checks = 0
  const issued = (issuer: Certificate, subject: Certificate) =>
    issuer.x509.ca && subject.x509.checkIssued(issuer.x509) && ++checks <= mostChecks && signed(issuer, subject)
  const search = (from: Certificate, seen: readonly Certificate[]): Buffer | undefined => {
    const root = others.find((other) => other.root && issued(other, from))
    if (root) return root.raw
    for (const other of others) {
      if (other.root || seen.includes(other) || !issued(other, from)) continue
      const found = search(other, [...seen, other])
      if (found) return found
    }
    return undefined
  }
  const itself = others.find((other) => other.root && other.raw.equals(first.raw))
  return itself?.raw ?? search(first, [])
}

function signed(issuer: Certificate, subject: Certificate): boolean {
  try {
    return subject.x509.verify(issuer.x509.publicKey)
  } catch {
    return false
  }
}
