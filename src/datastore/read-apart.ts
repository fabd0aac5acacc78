import { AppError } from '../errors.ts'
import type { BootstrapRead } from './bootstrap-reads.ts'

/** Reads a cluster's bootstrap row; apart: where no other clusters than those in doubt wait for it. */
export type ReadApart = (clusterId: string, serverToken: string, apart: boolean) => ReturnType<BootstrapRead>

/** Milliseconds that a read of one row may take: it takes two, on a new connection some dozens. */
const slow = 500
/** Milliseconds for which a cluster is in doubt after a read that took longer, or was refused. */
const memory = 600_000

/**
 * Reads the bootstrap rows of clusters one after the other in two lanes: a cluster that gave trouble waits for ten minutes with its like. A hostile table may keep
 * a session busy as long as its limits allow: so each of them holds up the others once in that time, and beside it for half a second at most.
 * @param now milliseconds, of a clock that never goes back
 */
export function readApart(read: ReadApart, now: () => number = () => performance.now()): BootstrapRead {
  const inDoubt = new Map<string, number>()
  const ends: [Promise<unknown>, Promise<unknown>] = [Promise.resolve(), Promise.resolve()]

  const doubt = (clusterId: string) => {
    for (const [id, since] of inDoubt) if (now() - since > memory) inDoubt.delete(id)
    inDoubt.set(clusterId, now())
  }
  const turn = async (clusterId: string, serverToken: string, apart: boolean) => {
    const begun = now()
    try {
      const row = await read(clusterId, serverToken, apart)
      if (now() - begun > slow) doubt(clusterId)
      return row
    } catch (error) {
      // That Postgres is away is nobody's doing.
      if (error instanceof AppError) doubt(clusterId)
      throw error
    }
  }
  return (clusterId, serverToken) => {
    const apart = now() - (inDoubt.get(clusterId) ?? Number.NEGATIVE_INFINITY) <= memory
    const lane = apart ? 1 : 0
    const result = ends[lane].then(() => turn(clusterId, serverToken, apart))
    ends[lane] = result.catch(() => {})
    return result
  }
}
