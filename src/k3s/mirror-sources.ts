import { AppError } from '../errors.ts'
import type { VersionSpec } from './cluster.ts'
import { hashesOf } from './hashes.ts'
import type { Install } from './install.ts'
import {
  type Architecture,
  architectures,
  archiveArchitecture,
  binaryName,
  imageNames,
  installScript,
} from './release.ts'

/** What a mirror holds of one version, each file checked against the release's list when it came. */
export type MirroredRelease = { version: string; files: Readonly<Record<string, { sha256: string; size: number }>> }

/** What a node fetches from a mirror; nothing else is named. `images` and `selinux` are as documents have them. */
export type MirrorSources = Install & {
  images: { arch: string; url: string; sha256: string }[]
  selinux: { release: string; url: string; sha256: string }[]
}

export type MirrorUse = {
  release: MirroredRelease
  /** Below which `<version>/<file>` lies, e.g. https://rollcall.example.net/assets/k3s */
  prefix: string
  pinned: VersionSpec | undefined
  allowUnpinned: boolean
}

/** Where a file of a mirrored release lies. `+` stands as `%2B`, as K3s' install script asks for it. */
export const mirrorUrl = (prefix: string, version: string, name: string): string =>
  `${prefix}/${encodeURIComponent(version)}/${encodeURIComponent(name)}`

/**
 * What a cluster's nodes install from, out of the mirror alone. An architecture that the mirror or the record lacks is left out.
 * @throws AppError `state_conflict` if a file's hash is not the one on record, or is on none and unpinned code was not allowed
 */
export function mirrorSources({ release, prefix, pinned, allowUnpinned }: MirrorUse): MirrorSources {
  const { version, files } = release
  const recorded = pinned ? hashesOf(pinned) : new Map<string, string>()
  const has = (name: string) => Object.hasOwn(files, name)
  const pinnedOrAllowed = (name: string) => recorded.has(name) || allowUnpinned
  const source = (name: string) => {
    const sha256 = files[name]?.sha256
    if (sha256 === undefined) throw refused(`the mirror holds no ${name} of ${version}`)
    if (!pinnedOrAllowed(name)) throw refused(`no hash of ${name} on record for ${version}`)
    if ((recorded.get(name) ?? sha256) !== sha256)
      throw refused(`the mirror's ${name} of ${version} is not the one on record`)
    return { url: mirrorUrl(prefix, version, name), sha256 }
  }
  const usable = architectures.filter((arch) => has(binaryName(arch)) && pinnedOrAllowed(binaryName(arch)))
  if (usable.length === 0) throw refused(`no hashes on record for ${version}`)
  const script = source(installScript)
  return {
    script_url: script.url,
    script_sha256: script.sha256,
    binaries: usable.map((arch) => ({ arch, ...source(binaryName(arch)) })),
    images: usable.flatMap((arch) => archivesOf(arch, Object.keys(files)).map((name) => ({ arch, ...source(name) }))),
    selinux: selinuxPackages(Object.keys(files)).map(({ release, name }) => ({ release, ...source(name) })),
  }
}

/** The release's own images, in the best form that is there, and what an admin added. */
function archivesOf(arch: Architecture, names: readonly string[]): string[] {
  const own = imageNames(arch)
  const best = own.find((name) => names.includes(name))
  const added = names.filter((name) => archiveArchitecture(name) === arch && !own.includes(name))
  return [...(best ? [best] : []), ...added.sort()]
}

const selinuxPackage = /^k3s-selinux-.*\.(el\d{1,2})\.noarch\.rpm$/

/** One a release of Enterprise Linux; the name that sorts last, where there are several. */
function selinuxPackages(names: readonly string[]) {
  const newest = new Map<string, string>()
  for (const name of [...names].sort()) {
    const release = selinuxPackage.exec(name)?.[1]
    if (release !== undefined) newest.set(release, name)
  }
  return [...newest].map(([release, name]) => ({ release, name }))
}

const refused = (detail: string) => new AppError('state_conflict', { detail })
