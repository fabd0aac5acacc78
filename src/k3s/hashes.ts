import type { VersionSpec } from './cluster.ts'
import { type Architecture, architectures, binaryName, installScript } from './release.ts'

/** SHA-256 in hex by the name that the file has in a release or mirror. */
export type Hashes = ReadonlyMap<string, string>

/** All hashes of a version, by file name. */
export function hashesOf({ artifacts, install_script, files }: VersionSpec): Hashes {
  const all = new Map([[installScript, install_script.sha256]])
  for (const arch of architectures) {
    const binary = artifacts[arch]
    if (binary) all.set(binaryName(arch), binary.sha256)
  }
  for (const [name, { sha256 }] of Object.entries(files ?? {})) all.set(name, sha256)
  return all
}

/** Both versions' hashes; where both have one, they are known to be the same. */
export function mergeHashes(known: VersionSpec, more: VersionSpec): VersionSpec {
  return {
    ...known,
    artifacts: { ...known.artifacts, ...more.artifacts },
    files: { ...known.files, ...more.files },
  }
}

const byBinary = new Map(architectures.map((arch) => [binaryName(arch), arch]))

/** A version from hashes by file name. @returns undefined without an install script or any binary */
export function versionOf(version: string, hashes: Hashes): VersionSpec | undefined {
  const artifacts: Partial<Record<Architecture, { sha256: string }>> = {}
  const files: Record<string, { sha256: string }> = {}
  for (const [name, sha256] of hashes) {
    const arch = byBinary.get(name)
    if (arch) artifacts[arch] = { sha256 }
    else if (name !== installScript) files[name] = { sha256 }
  }
  const script = hashes.get(installScript)
  if (script === undefined || Object.keys(artifacts).length === 0) return undefined
  return { version, artifacts, install_script: { sha256: script }, files }
}
