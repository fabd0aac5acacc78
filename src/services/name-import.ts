import { deriveAlternative, deriveHostname } from '../roll/hostname.ts'
import type { Columns } from '../roll/import-plan.ts'
import type { Drizzle } from '../store/database.ts'
import { takenHostnames } from '../store/import.ts'

/** A device that an import makes or changes; with `rename` it has a hostname to find. */
export type Seeker = { next: Columns; rename: boolean }

/**
 * Finds hostnames that are free in their clusters and writes them into `next`. All first wishes come before any alternative, and
 * earlier lines before later ones.
 * @returns those that found none, with the name that they wished for
 */
export async function nameImport<S extends Seeker>(tx: Drizzle, all: readonly S[]): Promise<Map<S, string>> {
  const seekers = all.filter(({ next, rename }) => rename && next.cluster_id !== null)
  const isGiven = new Set(seekers.filter(({ next }) => next.hostname !== null))
  const wish = (seeker: S) => seeker.next.hostname ?? deriveHostname(seeker.next.serial)
  const homeless = await settle(tx, seekers, wish)
  const derived = homeless.filter((seeker) => !isGiven.has(seeker))
  const lost = new Set([
    ...homeless.filter((seeker) => isGiven.has(seeker)),
    ...(await settle(tx, derived, ({ next }) => deriveAlternative(next.serial))),
  ])
  return new Map([...lost].map((seeker) => [seeker, wish(seeker)]))
}

/** Gives each the name of `nameOf` if it is free. @returns the others */
async function settle<S extends Seeker>(
  tx: Drizzle,
  seekers: readonly S[],
  nameOf: (seeker: S) => string,
): Promise<S[]> {
  const wishes = seekers.map((seeker) => ({ cluster_id: seeker.next.cluster_id as string, hostname: nameOf(seeker) }))
  const taken = await takenHostnames(tx, wishes)
  return seekers.filter(({ next }, i) => {
    const { cluster_id, hostname } = wishes[i] as { cluster_id: string; hostname: string }
    const place = `${cluster_id}/${hostname}`
    if (taken.has(place)) return true
    taken.add(place)
    next.hostname = hostname
    return false
  })
}
