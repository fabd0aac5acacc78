import { X509Certificate } from 'node:crypto'

const pem = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g

/** Whether a text is PEM certificates and nothing else: Node takes what it cannot read for no authority at all, and then says something else. */
export function isAuthority(text: string): boolean {
  const all = text.match(pem) ?? []
  return all.length > 0 && text.replace(pem, '').trim() === '' && all.every(isCertificate)
}

function isCertificate(text: string): boolean {
  try {
    return new X509Certificate(text).raw.length > 0
  } catch {
    return false
  }
}
