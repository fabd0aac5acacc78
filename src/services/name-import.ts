import { deriveAlternative } from '../roll/hostname.ts'
import type { Drizzle } from '../store/database.ts'
import { giveNames, giveOtherNames, type Nameless, nameChanges, nextNameless } from '../store/import-names.ts'
import type { Findings } from './import-findings.ts'

/** Lines without a name that are looked after at once. */
const page = 500

/**
 * Finds hostnames that are free in their clusters. All first wishes come before any alternative, and earlier lines before later ones.
 * @returns how many lines found none, by what they would have done
 */
export async function nameImport(tx: Drizzle, found: Findings): Promise<{ created: number; updated: number }> {
  const lost = { created: 0, updated: 0 }
  if ((await giveNames(tx)) > 0) {
    for (let rows = await nextNameless(tx, 0, page); rows.length > 0; ) {
      for (const { line, serial, hostname, fresh } of await findOthers(tx, rows)) {
        const reason = `another device of the cluster has ${hostname}, or had it`
        found.refuse({ line, serial, path: 'hostname', reason })
        lost[fresh ? 'created' : 'updated'] += 1
      }
      rows = await nextNameless(tx, rows.at(-1)?.line ?? 0, page)
    }
  }
  await nameChanges(tx)
  return lost
}

/** @returns those that may not have another name, or find none */
async function findOthers(tx: Drizzle, rows: readonly Nameless[]): Promise<Nameless[]> {
  const derived = rows.filter(({ given }) => !given)
  const wishes = derived.map(({ line, cluster_id, serial }) => {
    return { line, cluster_id, hostname: deriveAlternative(serial) }
  })
  const settled = await giveOtherNames(tx, wishes)
  return rows.filter(({ line }) => !settled.has(line))
}
