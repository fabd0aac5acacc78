import { createCipheriv, createDecipheriv, createHash, pbkdf2Sync, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { KeyValueClient, Row } from '../../kine/client.ts'
import { makeAuthority } from './certificates.ts'

/** What all servers of a cluster share, by K3s' names: `ServerCA`, `ServerCAKey`, … */
export type ClusterFiles = Readonly<Record<string, string>>

const authorities = {
  ServerCA: 'k3s-server-ca',
  ClientCA: 'k3s-client-ca',
  RequestHeaderCA: 'k3s-request-header-ca',
  ETCDServerCA: 'etcd-server-ca',
  ETCDPeerCA: 'etcd-peer-ca',
}

/** What a cluster's first server makes, once. */
export async function makeClusterFiles(token: string): Promise<ClusterFiles> {
  const files: Record<string, string> = {
    PasswdFile: `${token},server,server,k3s:server\n${token},node,node,k3s:agent\n`,
    IPSECKey: `${randomBytes(48).toString('hex')}\n`,
    ServiceKey: (await makeAuthority('service')).key,
  }
  for (const [name, subject] of Object.entries(authorities)) {
    const { certificate, key } = await makeAuthority(subject)
    Object.assign(files, { [name]: certificate, [`${name}Key`]: key })
  }
  return files
}

export const bootstrapKey = (token: string): string =>
  `/bootstrap/${createHash('sha256').update(token).digest('hex').slice(0, 12)}`

/** K3s pkg/cluster/encrypt.go. */
export function sealFiles(token: string, files: ClusterFiles, now: Date): Buffer {
  const entries = Object.entries(files).map(([name, content]) => [
    name,
    { Timestamp: now.toISOString(), Content: Buffer.from(content).toString('base64') },
  ])
  const salt = randomBytes(8).toString('hex')
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', keyOf(token, salt), nonce)
  const sealed = [
    nonce,
    cipher.update(JSON.stringify(Object.fromEntries(entries))),
    cipher.final(),
    cipher.getAuthTag(),
  ]
  return Buffer.from(`${salt}:${Buffer.concat(sealed).toString('base64')}`)
}

/** What a cluster's row holds. */
export type Saved = { files: ClusterFiles; savedAt: Date }

/** @throws Error if the token is another one */
export function openFiles(token: string, value: Buffer): Saved {
  const [salt = '', text = ''] = value.toString().split(':')
  const bytes = Buffer.from(text, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', keyOf(token, salt), bytes.subarray(0, 12))
  decipher.setAuthTag(bytes.subarray(-16))
  const plain = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString()
  const entries = Object.entries(JSON.parse(plain) as Record<string, { Timestamp: string; Content: string }>)
  const files = entries.map(([name, { Content }]) => [name, Buffer.from(Content, 'base64').toString()])
  const times = entries.map(([, { Timestamp }]) => Date.parse(Timestamp))
  return { files: Object.fromEntries(files), savedAt: new Date(Math.max(...times)) }
}

const keyOf = (token: string, salt: string) => pbkdf2Sync(token, salt, 4_096, 32, 'sha1')

/** Milliseconds between looks at another server's lock, and the look at which it is taken for dead. */
const waiting = { every: 5_000, looks: 5 }

/**
 * Waits for the cluster's files, or for the right to make them, as K3s pkg/cluster/storage.go does.
 * @returns undefined: this server goes first, and its lock lies in the datastore
 * @throws Error if the datastore belongs to a cluster with another token
 */
export async function takeTurn(
  client: KeyValueClient,
  token: string,
  say: (line: string) => void,
): Promise<Saved | undefined> {
  for (let look = 1; ; look++) {
    const row = await find(client, token)
    if (row && row.value.length > 0) return openFiles(token, row.value)
    if (!row && (await client.create(bootstrapKey(token), Buffer.alloc(0)))) return undefined
    if (row && look >= waiting.looks) {
      say('Bootstrap key is locked by a server that does not come; removing its lock')
      await client.delete(row.key, row.revision)
      continue
    }
    say('Bootstrap key already locked - waiting for data to be populated by another server')
    await sleep(waiting.every)
  }
}

/** Puts the files in the place of the lock. One that is late only warns, and goes on with files of its own, as the real one does. */
export async function saveFiles(
  client: KeyValueClient,
  token: string,
  files: ClusterFiles,
  say: (line: string) => void,
): Promise<void> {
  const value = sealFiles(token, files, new Date())
  const row = await find(client, token)
  const saved = !row
    ? await client.create(bootstrapKey(token), value)
    : row.value.length === 0 && (await client.update(row.key, value, row.revision))
  if (!saved) say('Bootstrap key already exists')
}

/** `k3s token rotate`: the files under a new token, and no longer under the old one. */
export async function rotateToken(client: KeyValueClient, token: string, next: string): Promise<void> {
  const row = await find(client, token)
  if (!row || row.value.length === 0) throw new Error('there is nothing to rotate')
  const { files } = openFiles(token, row.value)
  const PasswdFile = (files.PasswdFile as string).replaceAll(token, next)
  await client.create(bootstrapKey(next), sealFiles(next, { ...files, PasswdFile }, new Date()))
  await client.delete(row.key, row.revision)
}

async function find(client: KeyValueClient, token: string): Promise<Row | undefined> {
  const rows = await client.list('/bootstrap/')
  const own = rows.find(({ key }) => key === bootstrapKey(token))
  if (!own && rows.length > 0) throw new Error('bootstrap data already found and encrypted with different token')
  return own
}
