import { constants } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { join } from 'node:path'

/** A file that is being read. The bytes may begin before the place that was asked for, and then `from` says where. */
export type Opened = { from: number; bytes: AsyncIterable<Uint8Array> }

/** Where the files of a release come from: a directory, or URLs. */
export type Source = {
  /** Where a file lies, for people */
  place: (name: string) => string
  has: (name: string) => Promise<boolean>
  /**
   * Opens a file, from a byte on where it can.
   * @returns undefined if it is not there
   * @throws Error with a sentence if it cannot be read; SourceBroke if trying again may help
   */
  open: (name: string, from?: number) => Promise<Opened | undefined>
}

/** The connection broke or stalled; what was read so far is good. */
export class SourceBroke extends Error {
  override readonly name = 'SourceBroke'
}

/** Reads a small file whole. @returns undefined if it is not there @throws Error if it is larger than `most` bytes */
export async function readSmall(source: Source, name: string, most: number): Promise<Buffer | undefined> {
  const opened = await source.open(name)
  if (!opened) return undefined
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of opened.bytes) {
    size += chunk.length
    if (size > most) throw new Error(`${source.place(name)} is larger than ${most} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Files of one directory. A link is refused: what is named must be what is there. */
export function directorySource(directory: string): Source {
  const place = (name: string) => join(directory, name)
  return {
    place,
    has: async (name) => (await lstat(place(name)).catch(() => undefined))?.isFile() ?? false,
    open: async (name, from = 0) => {
      const file = await openFile(place(name))
      if (!file) return undefined
      const { size } = await file.stat()
      // Shorter than what was read before: another file by now.
      const start = from <= size ? from : 0
      return { from: start, bytes: file.createReadStream({ start }) }
    },
  }
}

async function openFile(path: string): Promise<FileHandle | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP') throw new Error(`${path} is a symbolic link: give the directory that holds the file itself`)
    throw new Error(`${path} cannot be read: ${message}`)
  }
  throw new Error(`${path} is no file`)
}

/** What is in memory already. */
export function memorySource(texts: ReadonlyMap<string, Uint8Array>): Source {
  return {
    place: (name) => name,
    has: async (name) => texts.has(name),
    open: async (name) => {
      const text = texts.get(name)
      return (
        text && {
          from: 0,
          bytes: (async function* () {
            yield text
          })(),
        }
      )
    },
  }
}
