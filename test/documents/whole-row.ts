import { lastBlock } from '../../src/documents/packed.ts'
import type { Packed } from '../../src/documents/rendered.ts'

/** A packed document as the one row of blocks that it is, its shared part in place. */
export function wholeRow({ before, shared, after }: Packed): Buffer {
  return Buffer.concat([...before, Buffer.from(shared?.packed ?? '', 'base64'), ...after, lastBlock])
}
