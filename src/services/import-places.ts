import { AppError } from '../errors.ts'
import type { Places } from '../roll/import-plan.ts'
import type { Drizzle } from '../store/database.ts'
import { type ClusterTraits, type ProfileTraits, placementClusters, placementProfiles } from '../store/placements.ts'

type Named = {
  profile: string | null
  cluster: string | null
  device: { profile_id: string; cluster_id: string | null } | null
}

export type ImportPlaces = ReturnType<typeof importPlaces>

/** The profiles and clusters of an import, read once each. */
export function importPlaces(tx: Drizzle) {
  const profiles = new Shelf<ProfileTraits>((by) => placementProfiles(tx, by))
  const clusters = new Shelf<ClusterTraits>((by) => placementClusters(tx, by))
  const places: Places = { profile: (by) => profiles.get(by), cluster: (by) => clusters.get(by) }
  return {
    ...places,
    /** Reads what these lines, and the devices they are about, name for the first time. */
    async learn(rows: readonly Named[]): Promise<void> {
      await profiles.learn(
        rows.map((r) => r.profile),
        rows.map((r) => r.device?.profile_id),
      )
      await clusters.learn(
        rows.map((r) => r.cluster),
        rows.map((r) => r.device?.cluster_id),
      )
    },
    /**
     * Holds them until the commit: locked only now, since a server that redeems must not wait for an import.
     * @throws AppError `busy` if one was deleted or changed meanwhile
     */
    async hold(): Promise<void> {
      await profiles.hold((names) => placementProfiles(tx, { names }, true))
      await clusters.hold((names) => placementClusters(tx, { names }, true))
    },
  }
}

type Read<T> = (by: { names: string[] } | { ids: string[] }) => Promise<T[]>

class Shelf<T extends { id: string; name: string }> {
  readonly #read: Read<T>
  readonly #byName = new Map<string, T>()
  readonly #byId = new Map<string, T>()

  constructor(read: Read<T>) {
    this.#read = read
  }

  get({ name, id }: { name?: string | undefined; id?: string | null }): T | undefined {
    return name === undefined ? this.#byId.get(id ?? '') : this.#byName.get(name)
  }

  async learn(names: readonly (string | null)[], ids: readonly (string | null | undefined)[]): Promise<void> {
    // What there is not is asked for again: a file may name any number of them.
    const newNames = [...new Set(names)].filter((name) => name !== null && !this.#byName.has(name)) as string[]
    for (const item of await this.#read({ names: newNames })) {
      this.#byName.set(item.name, item)
      this.#byId.set(item.id, item)
    }
    const newIds = [...new Set(ids)].filter((id) => id != null && !this.#byId.has(id)) as string[]
    for (const item of await this.#read({ ids: newIds })) this.#byId.set(item.id, item)
  }

  async hold(lock: (names: string[]) => Promise<T[]>): Promise<void> {
    const named = [...this.#byName.values()]
    const now = new Map((await lock(named.map((item) => item.name))).map((item) => [item.id, item]))
    if (named.every((item) => JSON.stringify(now.get(item.id)) === JSON.stringify(item))) return
    throw new AppError('busy', {
      detail: 'a profile or cluster was changed meanwhile: send the file again',
      retryAfter: 1,
    })
  }
}
