import { hash } from 'node:crypto'
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib'
import { lastBlock, storedBlocks } from '../documents/packed.ts'
import type { SharedPart } from '../documents/prepared-text.ts'
import type { Secretive } from '../documents/redact.ts'
import type { RenderedDocument } from '../documents/rendered.ts'
import type { StoredDocument } from '../store/shared-parts.ts'
import type { Vault } from '../store/vault.ts'

/** What is kept of a document until its device applied it: the bytes for a retry, and the secrets that its redacted successor is made without. */
export type KeptDocument = { secrets: Secretive; body: Buffer }

const place = (enrollmentId: string) => `enrollments/${enrollmentId}/document`

/** Bytes from which on secrets are packed: keys and registries may be long. */
const worthPacking = 4_096

// In front of blocks from which a shared part was left out: this byte, where the part belongs (4 bytes), its SHA-256. No row of blocks begins with
// this byte: RFC 1951 §3.2.3 reserves its kind of block.
const GAP = 7
const HEAD = 1 + 4 + 32

/**
 * Seals a document for its byte-identical retry. The whole is one raw deflate, of which what all documents share was packed once: packing 20 kB for each
 * costs as much as rendering them. And most of that is a file of ours, which is kept once for all, by the hash that is sealed here: 6.5 kB more of
 * ciphertext a device cost a sixth of an enrolment.
 */
export function sealDocument(
  vault: Vault,
  id: string,
  secrets: Secretive,
  document: RenderedDocument,
): { sealed: Uint8Array; shared: SharedPart | null } {
  const line = Buffer.from(`${JSON.stringify(secrets)}\n`)
  const head =
    line.length < worthPacking
      ? storedBlocks(line)
      : [deflateRawSync(line, { level: 1, finishFlush: constants.Z_FULL_FLUSH })]
  const { before, shared, after } = document.packed()
  const gap = shared ? [gapFor(shared, [...head, ...before])] : []
  const sealed = vault.seal(place(id), Buffer.concat([...gap, ...head, ...before, ...after, lastBlock]))
  return { sealed, shared: shared ?? null }
}

function gapFor({ hash }: SharedPart, before: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(HEAD)
  head[0] = GAP
  head.writeUInt32BE(
    before.reduce((sum, { length }) => sum + length, 0),
    1,
  )
  head.write(hash, 5, 'hex')
  return head
}

/**
 * Opens what `sealDocument` made.
 * @throws Error if it was not sealed for this enrollment, or its shared part is not the one that it was sealed with
 */
export function openDocument(vault: Vault, enrollmentId: string, { sealed, shared }: StoredDocument): KeptDocument {
  const bytes = inflateRawSync(filled(vault.open(place(enrollmentId), sealed), shared))
  const end = bytes.indexOf('\n')
  return { secrets: JSON.parse(bytes.toString('utf8', 0, end)) as Secretive, body: bytes.subarray(end + 1) }
}

function filled(kept: Buffer, shared: Uint8Array | null): Buffer {
  if (kept[0] !== GAP) return kept
  // Parts are not sealed: the hash is what lets nobody put another script into a retry.
  if (!shared || !hash('sha256', shared, 'buffer').equals(kept.subarray(5, HEAD)))
    throw new Error('the shared part of a document is not the one that it was sealed with')
  const at = HEAD + kept.readUInt32BE(1)
  return Buffer.concat([kept.subarray(HEAD, at), shared, kept.subarray(at)])
}
