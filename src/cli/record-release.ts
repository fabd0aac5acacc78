import { AppError } from '../errors.ts'
import { VersionSpec } from '../k3s/cluster.ts'
import { hashesOf } from '../k3s/hashes.ts'
import { installScript } from '../k3s/release.ts'
import { createLog } from '../log.ts'
import type { ReleaseLists } from '../mirror/release-lists.ts'
import { createVersion } from '../services/create-version.ts'
import { parse } from '../services/invalid.ts'
import { specOfVersion } from '../services/read-versions.ts'
import { findVersion } from '../store/versions.ts'
import type { Io } from './command.ts'
import { confirm } from './confirm.ts'
import { type Store, unixTime } from './open-store.ts'

/**
 * Shows what a release says of its files, and records it once the admin confirmed. What is on record already is not asked again.
 * @returns whether anything was recorded
 * @throws Error if the admin did not confirm, or a hash is another than on record
 */
export async function recordRelease(store: Store, io: Io, release: ReleaseLists, yes: boolean): Promise<boolean> {
  const known = await hashesOnRecord(store, release.spec.version)
  for (const line of linesOf(release, known)) io.err(line)
  return record(store, io, release.spec, { known, yes })
}

/** One further file of a version that is on record. @throws Error as `recordRelease` does, or if the version is not on record */
export async function recordFile(
  store: Store,
  io: Io,
  { version, name, sha256 }: { version: string; name: string; sha256: string },
  yes: boolean,
): Promise<boolean> {
  const row = await findVersion(store.database.db, version)
  if (!row) throw new Error(`${version} is not on record yet: rollcall versions add ${version}`)
  const spec = specOfVersion(row)
  io.err(`${version}:\n  ${sha256}  ${name}`)
  return record(store, io, { ...spec, files: { ...spec.files, [name]: { sha256 } } }, { known: hashesOf(spec), yes })
}

async function record(
  store: Store,
  io: Io,
  spec: VersionSpec,
  { known, yes }: { known: ReadonlyMap<string, string>; yes: boolean },
): Promise<boolean> {
  const shown = [...hashesOf(spec)]
  const differs = shown.some(([name, hash]) => known.has(name) && known.get(name) !== hash)
  const fresh = shown.filter(([name]) => !known.has(name))
  if (!differs && fresh.length === 0) return false
  const question = `Record ${fresh.length} hashes of ${spec.version}? What has them may run as root on nodes.`
  if (!differs) await confirm(io, question, yes)
  const context = { ...store.database, now: unixTime, log: createLog('silent') }
  try {
    await createVersion(context, { name: 'cli' }, parse(VersionSpec, spec))
  } catch (error) {
    throw error instanceof AppError ? new Error(alarm(error)) : error
  }
  return true
}

/** Hashes by file name; empty if nothing is on record. */
async function hashesOnRecord(store: Store, version: string): Promise<ReadonlyMap<string, string>> {
  const row = await findVersion(store.database.db, version)
  return row ? hashesOf(specOfVersion(row)) : new Map()
}

function linesOf({ spec, listed, script }: ReleaseLists, known: ReadonlyMap<string, string>): string[] {
  const about = (name: string) => {
    if (name !== installScript) return listed.get(name)?.list
    return `${script.place}${script.vouched ? ', as its .sha256sum says' : ', WITHOUT A LIST THAT NAMES IT: read it'}`
  }
  const state = (name: string, hash: string) => {
    if (!known.has(name)) return ''
    return known.get(name) === hash ? '  (on record)' : `  !! ON RECORD IS ${known.get(name)}`
  }
  const lines = [...hashesOf(spec)].map(([name, hash]) => `  ${hash}  ${name}  ${about(name)}${state(name, hash)}`)
  return [`${spec.version}:`, ...lines]
}

function alarm({ code, detail, errors }: AppError): string {
  if (code !== 'already_exists') return errors?.map(({ path, reason }) => `${path}: ${reason}`).join('\n') ?? code
  return `ALARM: ${detail}. A release does not change: somebody may have put another file in its place. Nothing was recorded.`
}
