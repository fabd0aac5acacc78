import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'
import { secrets } from './resources.ts'
import type { ObjectStore } from './store.ts'
import { ApiError } from './store.ts'

// K3s pkg/nodepassword: version, salt, log2 N, r, p, key.
const [logN, r, p, bytes] = [15, 8, 1, 64]

/** `$1:salt:15:8:1:key`, as the Secret keeps it. */
export function hashNodePassword(password: string, salt: Buffer = randomBytes(8)): string {
  const key = scryptSync(password, salt, bytes, { N: 2 ** logN, r, p, maxmem: 64 << 20 })
  return `$1:${salt.toString('hex')}:${logN}:${r}:${p}:${key.toString('base64').replace(/=+$/, '')}`
}

function matches(password: string, hash: string): boolean {
  const salt = Buffer.from(hash.split(':')[1] ?? '', 'hex')
  const [given, kept] = [Buffer.from(hashNodePassword(password, salt)), Buffer.from(hash)]
  return given.length === kept.length && timingSafeEqual(given, kept)
}

const nameOf = (node: string) => `${node}.node-password.k3s`

/** Keeps a node's first password; from then on no other will do, until its Node is deleted. @throws ApiError 403 */
export async function checkNodePassword(store: ObjectStore, node: string, password: string): Promise<void> {
  const name = nameOf(node)
  const kept = await store.get(secrets, name, 'kube-system')
  if (kept) {
    if (matches(password, Buffer.from(kept.data.hash, 'base64').toString())) return
    throw new ApiError(403, 'Forbidden', `unable to verify password for node ${node}: hash does not match`)
  }
  await store.create(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'kube-system' },
    type: 'k3s.cattle.io/node-password',
    immutable: true,
    data: { hash: Buffer.from(hashNodePassword(password)).toString('base64') },
  })
}

/** Has the password go with its Node. */
export async function ownNodePassword(store: ObjectStore, node: string, uid: string): Promise<void> {
  await store.change(secrets, nameOf(node), 'kube-system', (secret) => ({
    ...secret,
    metadata: { ...secret.metadata, ownerReferences: [{ kind: 'Node', name: node, uid, apiVersion: 'v1' }] },
  }))
}

export async function forgetNodePassword(store: ObjectStore, node: string): Promise<void> {
  await store.delete(secrets, nameOf(node), 'kube-system')
}
