import { AppError } from '../errors.ts'

/** As K3s names them in its releases and in `sha256sum-<arch>.txt`. */
export const architectures = ['amd64', 'arm64', 'arm'] as const
export type Architecture = (typeof architectures)[number]

/** Forms of an image archive that K3s imports, the smallest first. K3s pkg/agent/containerd. */
export const archiveForms = ['tar.zst', 'tar.gz', 'tar'] as const

const suffix: Record<Architecture, string> = { amd64: '', arm64: '-arm64', arm: '-armhf' }

/** The binary's name in a release. */
export const binaryName = (arch: Architecture): string => `k3s${suffix[arch]}`

/** The list of an architecture's hashes. */
export const sumsName = (arch: Architecture): string => `sha256sum-${arch}.txt`

/** The names that a release's archive of images may have, the best first. */
export const imageNames = (arch: Architecture): string[] =>
  archiveForms.map((form) => `k3s-airgap-images-${arch}.${form}`)

/** K3s' install script, as the mirror and a release directory name it; releases themselves do not hold it. */
export const installScript = 'install.sh'

/** What a file beside a release may be called: one path segment, nothing that a shell, a URL or a directory reads otherwise. */
export const fileName = /^[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}$/

/** Names of what has a hash of its own in a version, or vouches for others: no further file may take one. */
export const reservedNames: ReadonlySet<string> = new Set([
  installScript,
  `${installScript}.sha256sum`,
  ...architectures.flatMap((arch) => [binaryName(arch), sumsName(arch)]),
])

const imageArchive = /-(amd64|arm64|arm)\.(?:tar|tar\.gz|tar\.zst)$/

/** The architecture of an archive of images, which its name must end in; undefined for any other file. */
export function archiveArchitecture(name: string): Architecture | undefined {
  return imageArchive.exec(name)?.[1] as Architecture | undefined
}

const line = /^([0-9a-f]{64}) [ *](\S+)$/

/** Entries of a list that a release may have; K3s' own have four. */
const mostLines = 256

/**
 * Reads `sha256sum`'s own format.
 * @param of stands in refusals, e.g. sha256sum-amd64.txt
 * @returns hashes by file name
 * @throws AppError `invalid` for anything that is no list of plain file names, each once
 */
export function parseSums(text: string, of: string): Map<string, string> {
  const sums = new Map<string, string>()
  const lines = text.split('\n').filter((one) => one.trim() !== '')
  if (lines.length === 0 || lines.length > mostLines) throw unreadable(of, 'is no list of hashes')
  for (const [i, one] of lines.entries()) {
    const [, hash, name] = line.exec(one.replace(/\r$/, '')) ?? []
    if (hash === undefined || name === undefined) throw unreadable(of, `line ${i + 1} is not "<sha256>  <name>"`)
    if (!fileName.test(name)) throw unreadable(of, `line ${i + 1} names a path, not a file`)
    if (sums.has(name) && sums.get(name) !== hash) throw unreadable(of, `has two hashes of ${name}`)
    sums.set(name, hash)
  }
  return sums
}

const unreadable = (of: string, why: string) => new AppError('invalid', { detail: `${of} ${why}` })
