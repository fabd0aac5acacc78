import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClusterFiles } from './bootstrap.ts'
import type { Pair } from './certificates.ts'

const names = {
  'server-ca.crt': 'ServerCA',
  'server-ca.key': 'ServerCAKey',
  'client-ca.crt': 'ClientCA',
  'client-ca.key': 'ClientCAKey',
}

const folderOf = (root: string) => join(root, 'var/lib/rancher/k3s/server/tls')

/**
 * Lays the cluster's files below server/tls. What differs there gives way to a datastore that is not older (K3s pkg/cluster/bootstrap.go).
 * @param savedAt when they were put into the datastore; undefined if they are about to be
 * @throws Error where the disk has another cluster's, and newer ones
 */
export function keepFiles(
  root: string,
  files: ClusterFiles,
  savedAt: Date | undefined,
  say: (line: string) => void,
): void {
  const folder = folderOf(root)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const differing = Object.entries(names)
    .map(([name, entry]) => ({ file: join(folder, name), content: files[entry] as string }))
    .filter(({ file, content }) => !existsSync(file) || readFileSync(file, 'utf8') !== content)
  const newer = differing.filter(({ file }) => savedAt && existsSync(file) && isNewer(file, savedAt))
  if (newer.length > 0)
    throw new Error(
      `${newer.map(({ file }) => file).join(', ')} newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore.`,
    )
  if (savedAt && differing.some(({ file }) => existsSync(file))) say('Updating bootstrap data on disk from datastore')
  for (const { file, content } of differing) writeFileSync(file, content, { mode: 0o600 })
}

/** What it made in a start before, all of it or nothing: K3s makes no CA that lies on the disk already (pkg/daemons/control/deps, createSigningCertKey). */
export function ownFiles(root: string): ClusterFiles {
  const folder = folderOf(root)
  const own = Object.entries(names).map(([name, entry]) => [entry, join(folder, name)] as const)
  if (!own.every(([, file]) => existsSync(file))) return {}
  return Object.fromEntries(own.map(([entry, file]) => [entry, readFileSync(file, 'utf8')]))
}

// As far apart as K3s lets two machines' clocks be.
const isNewer = (file: string, savedAt: Date) => statSync(file).mtimeMs - savedAt.getTime() >= 3_000

/**
 * The certificate that it serves with stays on the disk and is used again, whoever signed it (rancher/dynamiclistener): a first server that lost its
 * turn serves with one that nobody trusts.
 */
export async function servingCertificate(
  root: string,
  names: readonly string[],
  make: () => Promise<Pair>,
): Promise<Pair> {
  const file = join(folderOf(root), 'dynamic-cert.json')
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Kept) : undefined
  if (kept && names.every((name) => kept.names.includes(name))) return kept.leaf
  const leaf = await make()
  writeFileSync(file, JSON.stringify({ names, leaf }), { mode: 0o600 })
  return leaf
}

type Kept = { names: string[]; leaf: Pair }

export const isSignedBy = (certificate: string, authority: string): boolean =>
  new X509Certificate(certificate).verify(new X509Certificate(authority).publicKey)
