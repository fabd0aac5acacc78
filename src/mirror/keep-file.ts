import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { chmod, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Source, SourceBroke } from './source.ts'

/** Times that a broken download is taken up again. */
const attempts = 5

/** The disk is full. */
export class NoRoom extends Error {
  override readonly name = 'NoRoom'
}

export type Wanted = { name: string; sha256: string }

/** Where a file of a mirror lies, by its hash: it is there whole, or not at all. */
export const blobPath = (root: string, sha256: string): string => join(root, 'sha256', sha256)

/**
 * Brings a file into the mirror, checked against its hash. What broke off is taken up where it ended, by this run or the next.
 * @returns its size, and whether it was there already
 * @throws Error with a sentence: not there, another hash, no room
 */
export async function keepFile(root: string, source: Source, wanted: Wanted): Promise<{ size: number; had: boolean }> {
  const target = blobPath(root, wanted.sha256)
  const held = await sizeIfWhole(target, wanted.sha256)
  if (held !== undefined) return { size: held, had: true }
  const part = join(await folder(root, 'partial'), wanted.sha256)
  try {
    await fetchWhole(part, source, wanted)
    await folder(root, 'sha256')
    const { size } = await stat(part)
    await rename(part, target)
    return { size, had: false }
  } catch (error) {
    if (!isFull(error)) throw error
    await rm(part, { force: true })
    throw new NoRoom(
      `${root}: no room for ${wanted.name} (${(error as NodeJS.ErrnoException).code}); nothing of it was kept`,
    )
  }
}

/** A file's SHA-256, before anything of it is kept. @throws Error if it is not there */
export async function hashFile(source: Source, name: string): Promise<string> {
  const opened = await source.open(name)
  if (!opened) throw new Error(`${source.place(name)} is not there`)
  const hash = createHash('sha256')
  for await (const chunk of opened.bytes) hash.update(chunk)
  return hash.digest('hex')
}

/** Releases are public, and the server may run under another account than who fills its mirror: whatever the umask, all may read. */
export async function folder(root: string, name: string): Promise<string> {
  const path = join(root, name)
  for (const one of [root, path]) {
    if ((await mkdir(one, { recursive: true })) !== undefined) await chmod(one, 0o755)
  }
  return path
}

/** Makes sure that a folder's entries outlive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function fetchWhole(part: string, source: Source, { name, sha256 }: Wanted): Promise<void> {
  let resumed = false
  for (let attempt = 1; ; attempt++) {
    try {
      const got = await fetchRest(part, source, name)
      if (got.sha256 === sha256) return
      await rm(part, { force: true })
      // The beginning may be of another file, from an earlier run: once more from the start.
      if (!got.resumed || resumed) throw new Error(mismatch(source.place(name), got.sha256, sha256))
      resumed = true
    } catch (error) {
      if (!(error instanceof SourceBroke) || attempt >= attempts) throw error
      await sleep(attempt * 1_000)
    }
  }
}

const mismatch = (place: string, got: string, wanted: string) =>
  `${place} has another SHA-256 than its list says (cut short, or changed):\n  ${got}, not\n  ${wanted}`

/** Appends what is missing. @returns the hash of all of it, and whether a part was there before */
async function fetchRest(part: string, source: Source, name: string): Promise<{ sha256: string; resumed: boolean }> {
  const had = (await stat(part).catch(() => undefined))?.size ?? 0
  const opened = await source.open(name, had)
  if (!opened) throw new Error(`${source.place(name)} is not there`)
  const resumed = had > 0 && opened.from === had
  const hash = resumed ? await hashOf(part) : createHash('sha256')
  const file = await open(part, resumed ? 'a' : 'w', 0o644)
  try {
    await file.chmod(0o644)
    await append(file, opened.bytes, hash)
    await file.sync()
    return { sha256: hash.digest('hex'), resumed }
  } finally {
    await file.close()
  }
}

async function append(file: FileHandle, bytes: AsyncIterable<Uint8Array>, hash: Hash): Promise<void> {
  for await (const chunk of bytes) {
    hash.update(chunk)
    await file.appendFile(chunk)
  }
}

async function sizeIfWhole(path: string, sha256: string): Promise<number | undefined> {
  try {
    const { size } = await stat(path)
    return (await hashOf(path)).digest('hex') === sha256 ? size : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

async function hashOf(path: string): Promise<Hash> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer)
  return hash
}

const isFull = (error: unknown) => ['ENOSPC', 'EDQUOT', 'EFBIG'].includes((error as NodeJS.ErrnoException)?.code ?? '')
