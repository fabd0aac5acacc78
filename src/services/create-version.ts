import { AppError } from '../errors.ts'
import type { VersionSpec } from '../k3s/cluster.ts'
import { type Hashes, hashesOf, mergeHashes } from '../k3s/hashes.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { date } from '../store/time.ts'
import { findVersion, insertVersion, setHashes } from '../store/versions.ts'
import type { Actor } from './actor.ts'
import type { Context } from './context.ts'
import { refuse } from './invalid.ts'
import { type ShownVersion, specOfVersion, toVersion } from './read-versions.ts'

type Deps = Pick<Context, 'db' | 'now' | 'log'>
type Outcome = { created: boolean; version: ShownVersion }

/**
 * Records what may run as root on nodes. A hash on record never changes; an architecture or a file can be added later.
 * @returns `created`: false if it was on record already
 * @throws AppError `already_exists` if a hash differs from the one on record, which is an alarm: a release does not change
 */
export async function createVersion(context: Deps, actor: Actor, spec: VersionSpec): Promise<Outcome> {
  const none = { path: 'artifacts', reason: 'needs the hash of at least one architecture' }
  refuse(Object.keys(spec.artifacts).length === 0 ? [none] : [])
  const outcome = await context.db.transaction((tx) => record(context, actor, spec, tx))
  if ('version' in outcome) return outcome
  const names = outcome.differing.map(({ name }) => name).join(', ')
  context.log.error({ version: spec.version, differing: outcome.differing }, 'alarm: a release shows other hashes')
  throw new AppError('already_exists', { detail: `${spec.version} is on record with another hash of ${names}` })
}

async function record(
  { now: clock }: Deps,
  actor: Actor,
  spec: VersionSpec,
  tx: Drizzle,
): Promise<Outcome | { differing: Differing[] }> {
  const { version, artifacts, install_script: installScript, files = {} } = spec
  const [now, target] = [clock(), `version:${version}`]
  const created = await insertVersion(tx, { version, artifacts, installScript, files, createdAt: date(now) })
  const row = await findVersion(tx, version, 'update')
  if (!row) throw new AppError('busy')
  if (created) {
    await recordAudit(tx, now, actor, 'version.create', target, spec)
    return { created, version: toVersion(row) }
  }
  const known = specOfVersion(row)
  const differing = differences(hashesOf(known), hashesOf(spec))
  if (differing.length > 0) {
    await recordAudit(tx, now, actor, 'version.alarm.hash', target, { differing })
    return { differing }
  }
  const all = mergeHashes(known, spec)
  if (hashesOf(all).size > hashesOf(known).size) {
    await setHashes(tx, version, { artifacts: all.artifacts, files: all.files ?? {} })
    await recordAudit(tx, now, actor, 'version.extend', target, spec)
  }
  return { created, version: toVersion({ ...row, artifacts: all.artifacts, files: all.files ?? {} }) }
}

type Differing = { name: string; on_record: string; shown: string }

function differences(known: Hashes, shown: Hashes): Differing[] {
  return [...shown].flatMap(([name, hash]) => {
    const before = known.get(name)
    return before === undefined || before === hash ? [] : [{ name, on_record: before, shown: hash }]
  })
}
