import { type Architecture, architectures, binaryName, imageNames } from '../k3s/release.ts'
import { keepFile, NoRoom } from './keep-file.ts'
import { type MirrorIndex, mirrorDisk, sweepBlobs, writeIndex } from './mirror-disk.ts'
import type { ReleaseLists } from './release-lists.ts'
import { memorySource, type Source } from './source.ts'

export type FillOptions = {
  root: string
  release: ReleaseLists
  source: Source
  /** Archives of images too, where the source has them */
  images: boolean
  /** Unix seconds */
  now: number
  /** For people: what was done */
  say: (message: string) => void
}

/**
 * Brings a release into the mirror, every file checked against its list. Only when all of them are there is any of them named.
 * @throws Error with a sentence; without room, what had come is removed again
 */
export async function fillMirror({ root, release, source, images, now, say }: FillOptions): Promise<MirrorIndex> {
  const { version } = release.spec
  const names = await choose(release, source, images, say)
  const files: MirrorIndex['files'] = {}
  const keep = async (from: Source, name: string, sha256: string) => {
    const { size, had } = await keepFile(root, from, { name, sha256 })
    files[name] = { sha256, size }
    say(`${name}: ${megabytes(size)}${had ? ', was there' : ''}`)
  }
  try {
    for (const name of names) await keep(source, name, (release.listed.get(name) as { sha256: string }).sha256)
    const texts = memorySource(release.texts)
    for (const [name, sha256] of release.hashes) await keep(texts, name, sha256)
  } catch (error) {
    if (error instanceof NoRoom) await sweepBlobs(root)
    throw error
  }
  return addToIndex(root, version, files, now)
}

/** Names files of a version that are in the mirror; what it held before stays. */
export async function addToIndex(
  root: string,
  version: string,
  files: MirrorIndex['files'],
  now: number,
): Promise<MirrorIndex> {
  const before = mirrorDisk(root).find(version)
  const index = { version, changed_at: now, files: { ...before?.files, ...files } }
  await writeIndex(root, index)
  await sweepBlobs(root)
  return index
}

export const megabytes = (bytes: number): string =>
  bytes < 1_000_000 ? `${Math.ceil(bytes / 1_000)} kB` : `${Math.round(bytes / 1_000_000)} MB`

async function choose(
  { listed, spec }: ReleaseLists,
  source: Source,
  images: boolean,
  say: FillOptions['say'],
): Promise<string[]> {
  const chosen: string[] = []
  for (const arch of architectures.filter((one) => spec.artifacts[one])) {
    const binary = binaryName(arch)
    if (!(await source.has(binary))) {
      say(`${source.place(binary)} is not there: ${arch} is left out`)
      continue
    }
    chosen.push(binary, ...(images ? await archiveOf(arch, listed, source, say) : []))
  }
  if (chosen.length === 0) throw new Error(`${spec.version}: no binary of K3s is there`)
  return chosen
}

/** The smallest archive that is listed and there. */
async function archiveOf(
  arch: Architecture,
  listed: ReleaseLists['listed'],
  source: Source,
  say: FillOptions['say'],
): Promise<string[]> {
  for (const name of imageNames(arch)) if (listed.has(name) && (await source.has(name))) return [name]
  say(`no archive of images for ${arch} is there: its nodes pull them from a registry`)
  return []
}
