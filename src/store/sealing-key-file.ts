import { closeSync, existsSync, fsyncSync, linkSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { type SealingKey, sealingKey } from './seal.ts'

const preamble = `# Rollcall's sealing keys, newest first: "<key id> <base64 of 32 bytes>" a line.
# Keep a copy in another place: without it the secrets in the database are lost.
`
const line = /^(?:([0-9a-f]{8}) )?([A-Za-z0-9+/]{43}=)$/

/**
 * Reads the keys, newest first. A line may leave the key id out (`openssl rand -base64 32` makes one).
 * @returns undefined if there is no such file
 * @throws Error that names the file and the line, never its content
 */
export function readSealingKeys(path: string): SealingKey[] | undefined {
  if (!existsSync(path)) return undefined
  const keys = readFileSync(path, 'utf8')
    .split('\n')
    .map((text, i) => [text.trim(), i + 1] as const)
    .filter(([text]) => text !== '' && !text.startsWith('#'))
    .map(([text, number]) => parse(path, text, number))
  if (keys.length === 0) throw new Error(`The sealing key file ${path} holds no key: bring back its copy`)
  return keys
}

/** Makes a key file, 0600, whole or not at all, and never over another. @param bytes 32, random */
export function writeSealingKey(path: string, bytes: Uint8Array): SealingKey {
  const key = sealingKey(bytes)
  const temporary = `${path}.${process.pid}.new`
  const fd = openSync(temporary, 'wx', 0o600)
  try {
    writeSync(fd, `${preamble}${key.id} ${Buffer.from(bytes).toString('base64')}\n`)
    fsyncSync(fd)
    linkSync(temporary, path)
  } finally {
    closeSync(fd)
    rmSync(temporary, { force: true })
  }
  syncDirectory(dirname(path))
  return key
}

function parse(path: string, text: string, number: number): SealingKey {
  const [, id, base64 = ''] = line.exec(text) ?? []
  const bytes = Buffer.from(base64, 'base64')
  const key = bytes.length === 32 ? sealingKey(bytes) : undefined
  if (!key || (id !== undefined && id !== key.id)) {
    throw new Error(`Line ${number} of the sealing key file ${path} is damaged: bring back its copy`)
  }
  return key
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
