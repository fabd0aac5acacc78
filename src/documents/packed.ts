// Raw deflate (RFC 1951 §3.2) is a row of blocks. Packing a text once and putting its blocks between others costs nothing a document, and whatever
// inflates can read the whole.

/** The most that a stored block holds (§3.2.4). */
const most = 65_535

/** The block that ends a row: stored, empty, marked as the last. */
export const lastBlock: Buffer = Buffer.from([1, 0, 0, 0xff, 0xff])

/** Bytes as they are, in blocks that do not end the row. The row so far must end with a whole byte, as these do. */
export function storedBlocks(bytes: Buffer): Buffer[] {
  const blocks: Buffer[] = []
  for (let from = 0; from < bytes.length; from += most) {
    const data = bytes.subarray(from, from + most)
    const head = Buffer.alloc(5)
    head.writeUInt16LE(data.length, 1)
    head.writeUInt16LE(~data.length & 0xffff, 3)
    blocks.push(head, data)
  }
  return blocks
}
