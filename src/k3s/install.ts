import { AppError } from '../errors.ts'
import type { VersionSpec } from './cluster.ts'
import { type Architecture, architectures, binaryName } from './release.ts'

/** What a node installs K3s from. A SHA-256 is hex, and empty only where the cluster says `allow_unpinned`. */
export type Install = {
  script_url: string
  script_sha256: string
  binaries: { arch: Architecture; url: string; sha256: string }[]
}

/**
 * Where K3s' binary of one architecture lies below a release mirror.
 * @param prefix e.g. https://github.com/k3s-io/k3s/releases/download
 */
export function binaryUrl(prefix: string, version: string, arch: Architecture): string {
  return `${prefix.replace(/\/+$/, '')}/${encodeURIComponent(version)}/${binaryName(arch)}`
}

/** What a cluster's nodes install from, with the hashes on record. */
export type InstallSources = {
  version: string
  /** `{version}` in it stands for the percent-encoded version */
  scriptUrl: string
  artifactUrl: string
  pinned: VersionSpec | undefined
  allowUnpinned: boolean
}

/**
 * What a cluster's nodes install from. An architecture without a hash on record is left out, unless unpinned code was allowed.
 * @throws AppError `state_conflict` if nothing is on record and unpinned code was not allowed
 */
export function installFrom({ version, scriptUrl, artifactUrl, pinned, allowUnpinned }: InstallSources): Install {
  const hash = (arch: Architecture) => pinned?.artifacts[arch]?.sha256 ?? ''
  const scriptHash = pinned?.install_script.sha256 ?? ''
  const usable = architectures.filter((arch) => hash(arch) !== '' || allowUnpinned)
  if (usable.length === 0 || (scriptHash === '' && !allowUnpinned)) {
    throw new AppError('state_conflict', { detail: `no hashes on record for ${version}` })
  }
  return {
    script_url: scriptUrl.replaceAll('{version}', encodeURIComponent(version)),
    script_sha256: scriptHash,
    binaries: usable.map((arch) => ({ arch, url: binaryUrl(artifactUrl, version, arch), sha256: hash(arch) })),
  }
}

/** What kind of system a built-in document is for; `other` for an admin's own template. */
export type System = 'debian' | 'rocky' | 'fcos' | 'flatcar' | 'other'

/**
 * What K3s' install script sees. Nothing here is secret: it is copied to a unit's environment file.
 * The binary is fetched and checked by us, so the script skips that part alone; its SELinux policy package comes from K3s' signed repository.
 * @param mirrored K3s comes from a mirror: so does the policy, or it does not come at all. The script would go to rpm.rancher.io for it.
 */
export function installEnv(
  system: System,
  role: 'server' | 'agent',
  version: string,
  mirrored = false,
): Record<string, string> {
  return {
    INSTALL_K3S_VERSION: version,
    INSTALL_K3S_EXEC: role,
    INSTALL_K3S_SKIP_DOWNLOAD: 'binary',
    ...(mirrored ? { INSTALL_K3S_SKIP_SELINUX_RPM: 'true' } : {}),
    ...perSystem[system],
  }
}

const perSystem: Record<System, Record<string, string>> = {
  debian: {},
  // A release of Rocky that the policy package does not fit yet: a line in the log, not a box that never joins.
  rocky: { INSTALL_K3S_SELINUX_WARN: 'true' },
  fcos: { INSTALL_K3S_BIN_DIR: '/usr/local/bin' },
  // /usr is read-only there
  flatcar: { INSTALL_K3S_BIN_DIR: '/opt/bin' },
  other: {},
}
