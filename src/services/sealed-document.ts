import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { lastBlock, storedBlocks } from '../documents/packed.ts'
import type { Secretive } from '../documents/redact.ts'
import type { RenderedDocument } from '../documents/rendered.ts'
import type { Vault } from '../store/vault.ts'

/** What is kept of a document until its device applied it: the bytes for a retry, and the secrets that its redacted successor is made without. */
export type KeptDocument = { secrets: Secretive; body: Buffer }

const place = (enrollmentId: string) => `enrollments/${enrollmentId}/document`

/** Bytes from which on secrets are packed: keys and registries may be long. */
const worthPacking = 4_096

/**
 * Seals a document for its byte-identical retry. The whole is one raw deflate, of which what all documents share was packed once: packing 20 kB for each
 * costs as much as rendering them, and 25 kB of ciphertext a device would go to Postgres and its log otherwise.
 */
export function sealDocument(vault: Vault, id: string, secrets: Secretive, document: RenderedDocument): Uint8Array {
  const line = Buffer.from(`${JSON.stringify(secrets)}\n`)
  const head =
    line.length < worthPacking
      ? storedBlocks(line)
      : [deflateRawSync(line, { level: 1, finishFlush: constants.Z_FULL_FLUSH })]
  return vault.seal(place(id), Buffer.concat([...head, ...document.packed(), lastBlock]))
}

/** Opens what `sealDocument` made. */
export function openDocument(vault: Vault, enrollmentId: string, sealed: Uint8Array): KeptDocument {
  const bytes = inflateRawSync(vault.open(place(enrollmentId), sealed))
  const end = bytes.indexOf('\n')
  return { secrets: JSON.parse(bytes.toString('utf8', 0, end)) as Secretive, body: bytes.subarray(end + 1) }
}
