import { readdirSync, readFileSync, statSync } from 'node:fs'
import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { VersionSpec } from '../k3s/cluster.ts'
import { fileName } from '../k3s/release.ts'
import { compareVersions } from '../k3s/version.ts'
import { blobPath, folder, syncFolder } from './keep-file.ts'

/** What a mirror holds of a version; `<root>/versions/<version>.json`. */
const Index = z.object({
  version: VersionSpec.shape.version,
  /** Unix seconds of the last change */
  changed_at: z.int(),
  files: z.record(z.string().regex(fileName), z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/), size: z.int() })),
})
export type MirrorIndex = z.output<typeof Index>

/** A file as it is served. `path` is of its bytes, `modified` in Unix seconds. */
export type MirroredFile = { path: string; sha256: string; size: number }

/** A mirror's disk for who reads it: what another process adds is there at once. */
export type MirrorDisk = {
  find: (version: string) => MirrorIndex | undefined
  file: (version: string, name: string) => MirroredFile | undefined
  /** Oldest version first */
  list: () => MirrorIndex[]
}

/** @param root need not exist yet */
export function mirrorDisk(root: string): MirrorDisk {
  const kept = new Map<string, { stamp: string; index: MirrorIndex }>()

  const find = (version: string): MirrorIndex | undefined => {
    if (!VersionSpec.shape.version.safeParse(version).success) return undefined
    const path = indexPath(root, version)
    const stamp = stampOf(path)
    if (stamp === undefined) return undefined
    const before = kept.get(version)
    if (before?.stamp === stamp) return before.index
    const index = readIndex(path)
    kept.set(version, { stamp, index })
    return index
  }

  return {
    find,
    file: (version, name) => {
      const entry = find(version)
      if (!entry || !Object.hasOwn(entry.files, name)) return undefined
      const { sha256, size } = entry.files[name] as MirrorIndex['files'][string]
      return { path: blobPath(root, sha256), sha256, size }
    },
    list: () =>
      versionsIn(root)
        .flatMap((version) => find(version) ?? [])
        .sort((a, b) => compareVersions(a.version, b.version)),
  }
}

/** Writes what a mirror holds of a version: all of it or nothing. */
export async function writeIndex(root: string, index: MirrorIndex): Promise<void> {
  const path = indexPath(root, index.version)
  const directory = await folder(root, 'versions')
  await syncFolder(await folder(root, 'sha256'))
  await writeFile(`${path}.new`, `${JSON.stringify(index, null, 2)}\n`, { mode: 0o644, flush: true })
  await rename(`${path}.new`, path)
  await syncFolder(directory)
}

/** Takes a version out. @returns false if it was not there */
export async function removeIndex(root: string, version: string): Promise<boolean> {
  if (stampOf(indexPath(root, version)) === undefined) return false
  await rm(indexPath(root, version))
  return true
}

/** Removes files that no version names any more, and what broken downloads left. @returns bytes */
export async function sweepBlobs(root: string): Promise<number> {
  const named = new Set(
    mirrorDisk(root)
      .list()
      .flatMap(({ files }) => Object.values(files).map(({ sha256 }) => sha256)),
  )
  let freed = 0
  for (const name of ['sha256', 'partial']) {
    for (const entry of await readdir(join(root, name)).catch(() => [])) {
      const path = join(root, name, entry)
      if (name === 'sha256' && named.has(entry)) continue
      freed += statSync(path).size
      await rm(path, { force: true })
    }
  }
  return freed
}

const indexPath = (root: string, version: string) => join(root, 'versions', `${version}.json`)

function versionsIn(root: string): string[] {
  try {
    return readdirSync(join(root, 'versions')).flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -5)] : []))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function stampOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false, bigint: true })
  return found && `${found.ino}/${found.mtimeNs}/${found.size}`
}

function readIndex(path: string): MirrorIndex {
  try {
    return Index.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch (cause) {
    throw new Error(`${path} is no index of a mirror: remove it, and add the version again`, { cause })
  }
}
