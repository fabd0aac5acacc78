import { deflateRawSync, inflateRawSync } from 'node:zlib'
import type { DocumentInput } from '../documents/input.ts'
import type { Vault } from '../store/vault.ts'

/** What is kept of a document until its device applied it: the bytes for a retry, and what they were rendered from. */
export type KeptDocument = { input: DocumentInput; body: string }

const place = (enrollmentId: string) => `enrollments/${enrollmentId}/document`

/**
 * Seals a document for its byte-identical retry. Packed first: a document is mostly the same script and the input repeats in it,
 * and 25 kB of ciphertext a device would otherwise go to Postgres and its log.
 */
export function sealDocument(vault: Vault, enrollmentId: string, kept: KeptDocument): Uint8Array {
  const text = `${JSON.stringify(kept.input)}\n${kept.body}`
  return vault.seal(place(enrollmentId), deflateRawSync(text, { level: 1 }))
}

/** Opens what `sealDocument` made. */
export function openDocument(vault: Vault, enrollmentId: string, sealed: Uint8Array): KeptDocument {
  const text = inflateRawSync(vault.open(place(enrollmentId), sealed)).toString()
  const end = text.indexOf('\n')
  return { input: JSON.parse(text.slice(0, end)) as DocumentInput, body: text.slice(end + 1) }
}
