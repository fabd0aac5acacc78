import type { Datastore } from './cluster.ts'
import { parseVersion } from './version.ts'

/** Patch releases, by minor version, since which K3s has a trait; every later minor has it too. */
type Since = Readonly<Record<number, number>>

/** kine 0.16.1 and later die behind pgbouncer (K3s issue 14525; 1.34 from issue 14505). */
const noPgbouncer: Since = { 34: 10, 35: 6, 36: 2 }
/** These stop at a table that an old kine made without COLLATE "C" (K3s issue 14505). */
const wantsCollation: Since = { 34: 10, 35: 7, 36: 3 }

/**
 * What an admin should know before this version runs on this kind of datastore. Nothing here is looked up: an admin's own
 * PostgreSQL is asked by `rollcall doctor datastore`.
 * @returns sentences, none if nothing is known
 */
export function versionWarnings(version: string, kind: Datastore['kind']): string[] {
  if (kind !== 'postgres') return []
  const found: string[] = []
  if (has(noPgbouncer, version)) {
    found.push(`${version} does not start behind pgbouncer (K3s issue 14525): the endpoint must name PostgreSQL itself`)
  }
  if (has(wantsCollation, version)) {
    found.push(
      `${version} does not start on a table that an old K3s made without COLLATE "C" (K3s issue 14505): start one server once with KINE_SCHEMA_MIGRATION=2, and not again`,
    )
  }
  return found
}

function has(since: Since, version: string): boolean {
  const { minor, patch } = parseVersion(version)
  const first = since[minor]
  return first === undefined ? minor > Math.max(...Object.keys(since).map(Number)) : patch >= first
}
