import {
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import type { Account } from './account.ts'

export type FileOptions = { account?: Account | undefined /** 0600 unless given */; mode?: number }

/** Writes a file so that a power cut leaves either the old one or the new one, whole. */
export function writeWhole(path: string, content: string, { account, mode = 0o600 }: FileOptions = {}): void {
  const temporary = `${path}.new`
  rmSync(temporary, { force: true })
  const fd = openSync(temporary, 'wx', mode)
  try {
    // On the descriptor: Postgres' account, whose directory this may be, could swap the name under us.
    if (account) fchownSync(fd, account.uid, account.gid)
    writeSync(fd, content)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
  syncDirectory(dirname(path))
}

/** Writes the file unless it is there already. @returns what the file holds now */
export function writeOnce(path: string, content: string): string {
  if (!existsSync(path)) writeWhole(path, content)
  return readFileSync(path, 'utf8')
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
