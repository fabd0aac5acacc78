import { AppError } from '../errors.ts'
import type { VersionSpec } from '../k3s/cluster.ts'
import { recordAudit } from '../store/audit.ts'
import { date } from '../store/time.ts'
import { findVersion, insertVersion, setArtifacts } from '../store/versions.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import { refuse } from './invalid.ts'
import { type ShownVersion, toVersion } from './read-versions.ts'

/**
 * Records what may run as root on nodes. A hash on record never changes; an architecture can be added later.
 * @returns `created`: false if it was on record already
 * @throws AppError `already_exists` if a hash differs from the one on record
 */
export function createVersion(
  context: Context,
  actor: Actor,
  spec: VersionSpec,
): Promise<{ created: boolean; version: ShownVersion }> {
  const { version, artifacts, install_script: installScript } = spec
  const none = { path: 'artifacts', reason: 'needs the hash of at least one architecture' }
  refuse(Object.keys(artifacts).length === 0 ? [none] : [])
  const now = context.now()
  return context.db.transaction(async (tx) => {
    const row = { version, artifacts, installScript, createdAt: date(now) }
    const created = await insertVersion(tx, row)
    const known = await findVersion(tx, version, 'update')
    if (!known) throw new AppError('busy')
    const all = { ...known.artifacts, ...artifacts }
    if (created) await recordAudit(tx, now, actor, 'version.create', `version:${version}`, spec)
    else if (differs(known, spec)) {
      throw new AppError('already_exists', { detail: `${version} is on record with other hashes` })
    } else if (Object.keys(all).length > Object.keys(known.artifacts).length) {
      await setArtifacts(tx, version, all)
      await recordAudit(tx, now, actor, 'version.extend', `version:${version}`, spec)
    }
    return { created, version: toVersion({ ...known, artifacts: all }) }
  })
}

function differs(
  known: { artifacts: Record<string, { sha256: string }>; installScript: { sha256: string } },
  spec: VersionSpec,
): boolean {
  if (known.installScript.sha256 !== spec.install_script.sha256) return true
  return Object.entries(spec.artifacts).some(([arch, { sha256 }]) => {
    const before = known.artifacts[arch]
    return before !== undefined && before.sha256 !== sha256
  })
}
