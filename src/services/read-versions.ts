import { AppError } from '../errors.ts'
import type { VersionSpec } from '../k3s/cluster.ts'
import { hashesOf } from '../k3s/hashes.ts'
import { seconds } from '../store/time.ts'
import { findVersion, listVersions, type VersionRow } from '../store/versions.ts'
import type { Versioned } from './actor.ts'
import type { Context } from './context.ts'

export type ShownVersion = Versioned & { body: VersionSpec & { created_at: number } }

/** @throws AppError `not_found` */
export async function readVersion({ db }: Context, version: string): Promise<ShownVersion> {
  const row = await findVersion(db, version)
  if (!row) throw new AppError('not_found')
  return toVersion(row)
}

export async function readVersions(
  { db }: Pick<Context, 'db'>,
  page: { after?: string | undefined; limit: number },
): Promise<ShownVersion['body'][]> {
  return (await listVersions(db, page)).map((row) => toVersion(row).body)
}

export function toVersion(row: VersionRow): ShownVersion {
  const spec = specOfVersion(row)
  const body = { ...spec, created_at: seconds(row.createdAt) }
  // Hashes are only ever added, so their number tells one state from the next.
  return { id: row.version, version: hashesOf(spec).size, body }
}

export const specOfVersion = ({ version, artifacts, installScript, files }: VersionRow): VersionSpec => ({
  version,
  artifacts,
  install_script: installScript,
  files,
})
