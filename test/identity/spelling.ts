// Claims by hand, so that tests can spell what no honest library writes.

export const b64u = (data: string | Uint8Array) => Buffer.from(data).toString('base64url')

/** Header and payload as JSON text or value; the signature as it stands. */
export function compact(header: unknown, payload: unknown, signature = 'AAAA'): Buffer {
  return Buffer.from(`${part(header)}.${part(payload)}.${signature}`)
}

function part(value: unknown): string {
  return b64u(typeof value === 'string' || value instanceof Uint8Array ? value : JSON.stringify(value))
}

/** Thumbprint of nobody's key. */
export const kid = b64u(new Uint8Array(32).fill(1))
export const header = { alg: 'ES256', typ: 'ztp-claim+jwt', kid }
export const payload = {
  sub: 'SN-0001',
  aud: 'https://roll.example',
  eat_nonce: 'n'.repeat(48),
  jti: '00112233445566778899aabbccddeeff',
}

/** P-256, RFC 7515 appendix A.3; Ed25519 and its thumbprint, RFC 8037 appendix A; RSA, RFC 7638 section 3.1. */
export const published = {
  ec: {
    kty: 'EC',
    crv: 'P-256',
    x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
    y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
  },
  okp: { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
  rsa: {
    kty: 'RSA',
    n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
    e: 'AQAB',
  },
} as const
