import { type Assurance, assurances } from '../documents/profile.ts'

/** Whether a proof is at least as strong as what is asked: `network` < `bearer` < `key` < `hardware`. */
export function meets(proved: Assurance, minimum: Assurance): boolean {
  return assurances.indexOf(proved) >= assurances.indexOf(minimum)
}
