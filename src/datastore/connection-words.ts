import { error, type Finding } from './finding.ts'

type Failure = { code?: string | number; message?: string; cause?: Failure }

const words: Record<string, [code: string, text: string]> = {
  ENOTFOUND: ['unresolved', 'its name does not resolve from this server'],
  EAI_AGAIN: ['unresolved', 'its name does not resolve from this server: the name server does not answer'],
  ECONNREFUSED: ['refused', 'nothing listens there'],
  EHOSTUNREACH: ['unreachable', 'there is no way to it from this server'],
  ENETUNREACH: ['unreachable', 'there is no way to it from this server'],
  ETIMEDOUT: ['silent', 'it does not answer: a firewall, or a wrong address'],
  CONNECT_TIMEOUT: ['silent', 'it does not answer: a firewall, or a wrong address'],
  ERR_TLS_CERT_ALTNAME_INVALID: ['wrong_name', 'its certificate is not for this name: K3s will refuse it'],
  CERT_HAS_EXPIRED: ['expired', 'its certificate has expired'],
  CERT_NOT_YET_VALID: ['not_yet_valid', 'its certificate is not valid yet: is a clock wrong?'],
}
for (const code of [
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
])
  words[code] = ['untrusted', 'its certificate is not from the authority in cafile']

// mysql2 keeps OpenSSL's sentence and drops its code.
const sentences: [RegExp, Finding][] = [
  [
    /self.signed certificate|unable to (?:verify|get)/i,
    error(...(words.SELF_SIGNED_CERT_IN_CHAIN as [string, string])),
  ],
  [/altnames/i, error(...(words.ERR_TLS_CERT_ALTNAME_INVALID as [string, string]))],
  [/certificate has expired/i, error(...(words.CERT_HAS_EXPIRED as [string, string]))],
  [
    /alert (?:number 42|number 116|bad certificate|certificate required)/i,
    error('client_certificate', 'it wants a client certificate from another authority: certfile and keyfile'),
  ],
]

/** Why a connection did not come about, in words; undefined where the network and TLS are not to blame. */
export function connectionProblem(thrown: unknown): Finding | undefined {
  for (let failure = thrown as Failure | undefined; failure; failure = failure.cause) {
    const found = words[String(failure.code)]
    if (found) return error(...found)
    const said = sentences.find(([pattern]) => pattern.test(failure?.message ?? ''))
    if (said) return said[1]
  }
  return undefined
}
