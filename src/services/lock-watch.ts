import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Hoarder } from '../datastore/lock-watch.ts'
import { recordAudit } from '../store/audit.ts'
import { findLogin, noteHoarder } from '../store/logins.ts'
import { date } from '../store/time.ts'
import { markCompromised } from '../store/tombstones.ts'
import type { Context } from './context.ts'
import { fenceLogins } from './end-logins.ts'
import { type Running, startRounds } from './rounds.ts'

/** Milliseconds between looks, at least and at most, so that nobody takes locks between them by the clock; and after one that failed. */
const pause = { least: 150, most: 350, failed: 1_000 } as const

/**
 * Watches over Postgres' locks until stopped (datastore/lock-watch.ts). Never fails the process: while Postgres is away it tries again. Each server
 * watches: who is ended twice is ended.
 */
export function startLockWatch(context: Context): Running {
  const { managed } = context
  if (!managed) return { stop: async () => {} }
  const distrusted = new Map<string, Promise<void>>()
  const round = async (signal: AbortSignal): Promise<number> => {
    try {
      for (const hoarder of await managed.locks.look()) {
        const { process, locks } = hoarder
        if (process !== null) {
          context.log.error(
            { process, locks },
            'a read of a cluster takes the locks of PostgreSQL: its session was ended',
          )
          continue
        }
        if (distrusted.has(hoarder.role)) continue
        const done = distrust(context, hoarder, signal).finally(() => distrusted.delete(hoarder.role))
        distrusted.set(hoarder.role, done)
      }
      return randomInt(pause.least, pause.most)
    } catch (error) {
      context.log.debug({ err: { message: (error as Error).message } }, 'locks could not be looked at')
      return pause.failed
    }
  }
  return startRounds(round, () => Promise.all(distrusted.values()))
}

/** Its sessions are ended, and it would come again: this goes on until it cannot. */
async function distrust(context: Context, hoarder: Hoarder, signal: AbortSignal): Promise<void> {
  const about = { login: hoarder.role, deed: deedOf(hoarder) }
  context.log.error(about, 'alarm: a node keeps others from PostgreSQL: its sessions were ended')
  while (!signal.aborted) {
    try {
      return await punish(context, hoarder)
    } catch (error) {
      context.log.warn({ err: { message: (error as Error).message }, ...about }, 'its login is not ended yet')
      await sleep(pause.failed, undefined, { signal }).catch(() => {})
    }
  }
}

/**
 * Ends a login that took more locks than K3s ever does, or wanted a catalog for itself. Whoever runs such code on a server has its cluster's token and CA keys too, so the cluster
 * is *compromised* (DESIGN.md, "K3s rules"): no new server comes in, and an admin hears of it.
 */
export async function punish(context: Context, hoarder: Omit<Hoarder, 'process'>): Promise<void> {
  const { role, locks } = hoarder
  const login = await findLogin(context.sql, role)
  if (!login) return
  await fenceLogins(context, { enrollmentId: login.enrollment_id })
  const now = context.now()
  await noteHoarder(context.sql, role, { locks, deed: deedOf(hoarder) }, now)
  await context.db.transaction(async (tx) => {
    const name = await markCompromised(tx, login.cluster_id, date(now))
    if (name === undefined) return
    const why = { device: login.serial, reason: `its login ${deedOf(hoarder)}` }
    await recordAudit(tx, now, { name: 'server' }, 'cluster.compromised', `cluster:${name}`, why)
  })
}

const deedOf = ({ locks, alone }: Pick<Hoarder, 'locks' | 'alone'>): string =>
  alone ? "wanted a table of PostgreSQL's catalog for itself" : `took ${locks} locks of PostgreSQL`
