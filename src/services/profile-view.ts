import type { LintProblem } from '../documents/input.ts'
import type { ProfileSpec } from '../documents/profile.ts'
import type { ProfileRow } from '../store/profiles.ts'
import { seconds } from '../store/time.ts'
import type { Versioned } from './actor.ts'

export type ProfileBody = ProfileSpec & {
  id: string
  revision: number
  created_at: number
  updated_at: number
  /** Of what was just saved */
  warnings?: LintProblem[]
}
export type ShownProfile = Versioned & { body: ProfileBody }

export function showProfile(row: ProfileRow, warnings?: LintProblem[]): ShownProfile {
  const { id, revision, spec } = row
  const times = { created_at: seconds(row.createdAt), updated_at: seconds(row.updatedAt) }
  return { id, version: revision, body: { id, ...spec, revision, ...times, ...(warnings ? { warnings } : {}) } }
}
