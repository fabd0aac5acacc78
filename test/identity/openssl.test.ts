import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import type { Algorithm } from '../../src/identity/algorithm.ts'
import { parseClaim } from '../../src/identity/claim.ts'
import { importKey } from '../../src/identity/import-key.ts'
import { identityFromInput } from '../../src/identity/public-key.ts'
import { verifySignature } from '../../src/identity/verify.ts'
import { suite } from '../suite.ts'
import { b64u, payload } from './spelling.ts'

// What a device without any JOSE library does: OpenSSL's command line makes the key and signs.
const test = suite('a claim signed by the openssl command')

let dir = ''
test.before(() => {
  dir = mkdtempSync(join(tmpdir(), 'rollcall-identity-'))
})
test.after(() => rmSync(dir, { recursive: true, force: true }))

const file = (name: string) => join(dir, name)
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] })

const dgst = (hash: string, ...options: string[]) =>
  openssl('dgst', `-${hash}`, ...options, '-sign', file('key.pem'), file('input'))
const ways: Partial<Record<Algorithm, { make: string[]; sign: () => Buffer }>> = {
  ES256: { make: ['EC', 'ec_paramgen_curve:P-256'], sign: () => rawSignature(dgst('sha256'), 32) },
  ES384: { make: ['EC', 'ec_paramgen_curve:P-384'], sign: () => rawSignature(dgst('sha384'), 48) },
  EdDSA: {
    make: ['ED25519'],
    sign: () => openssl('pkeyutl', '-sign', '-inkey', file('key.pem'), '-rawin', '-in', file('input')),
  },
  RS256: { make: ['RSA', 'rsa_keygen_bits:2048'], sign: () => dgst('sha256') },
  PS256: {
    make: ['RSA', 'rsa_keygen_bits:2048'],
    sign: () => dgst('sha256', '-sigopt', 'rsa_padding_mode:pss', '-sigopt', 'rsa_pss_saltlen:digest'),
  },
}

for (const [alg, { make, sign }] of Object.entries(ways)) {
  test(`${alg} verifies with the key pinned from its PEM, and not once the text changed`, async () => {
    const [kind = '', option] = make
    openssl('genpkey', '-algorithm', kind, ...(option ? ['-pkeyopt', option] : []), '-out', file('key.pem'))
    const pinned = identityFromInput({
      kind: 'key',
      pem: openssl('pkey', '-in', file('key.pem'), '-pubout').toString(),
    })
    const input = `${b64u(JSON.stringify({ alg, typ: 'ztp-claim+jwt', kid: pinned.thumbprint }))}.${b64u(JSON.stringify(payload))}`
    writeFileSync(file('input'), input)
    const claim = parseClaim(Buffer.from(`${input}.${b64u(sign())}`))

    assert.equal(claim.keySource, { kind: 'kid', thumbprint: pinned.thumbprint })
    const key = pinned.jwk && importKey(pinned.jwk)
    if (!key) throw new Error('the pinned key was not imported')
    assert.is(await verifySignature(claim.header.alg, key, claim.signingInput, claim.signature), true)
    assert.is(await verifySignature(claim.header.alg, key, readFileSync(file('key.pem')), claim.signature), false)
  })
}

// ECDSA-Sig-Value: SEQUENCE of two INTEGERs, to r and s of fixed length.
function rawSignature(der: Buffer, size: number): Buffer {
  const integers: Buffer[] = []
  for (let at = 2; at < der.length; at += 2 + der.readUInt8(at + 1)) {
    const bytes = der.subarray(at + 2, at + 2 + der.readUInt8(at + 1))
    integers.push(Buffer.concat([Buffer.alloc(size), bytes]).subarray(-size))
  }
  return Buffer.concat(integers)
}
