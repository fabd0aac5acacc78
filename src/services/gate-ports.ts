import { AppError } from '../errors.ts'
import type { Datastore } from '../k3s/cluster.ts'
import type { GateView, Lease } from '../k3s/gate.ts'
import { recordAudit } from '../store/audit.ts'
import { recordEvents } from '../store/events.ts'
import { type Asker, selectGate, takeLease } from '../store/gate.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'
import { managedGate } from './managed-gate.ts'
import type { GatePorts } from './pass-gate.ts'
import { queueTask, wakeCluster } from './queue-task.ts'
import { stop } from './stop-cluster.ts'

/** A server with a ticket, and the cluster that it asks to be let into. */
export type Visitor = Asker & {
  cluster: string
  hostname: string
  datastore: Datastore['kind']
  serverToken: () => Promise<string>
}

const none = async () => {}

/** The gate on the database, and for a managed datastore on the clusters' PostgreSQL. */
export function gatePorts(context: Context, visitor: Visitor): Omit<GatePorts, 'mark'> {
  const managed = visitor.datastore === 'managed' ? managedGate(context, visitor, visitor.serverToken) : undefined
  return {
    now: context.now,
    look: async () => {
      const view = await selectGate(context.sql, visitor)
      if (!view) throw new AppError('cluster_not_ready', { detail: 'the cluster is off the roll', retryAfter: 300 })
      return view
    },
    lease: (seen) => lease(context, visitor, seen),
    stick: (seen, reason) => stop(context, visitor.clusterId, { reason, lost: seen.lease?.deviceId ?? null }),
    remove: () => remove(context, visitor),
    readBootstrap: async () => 'virgin',
    learn: none,
    fence: none,
    restore: none,
    ...managed,
  }
}

async function lease(context: Context, visitor: Visitor, { lease: seen }: GateView): Promise<boolean> {
  const taken = await takeLease(context.sql, visitor, seen?.deviceId ?? null, context.now())
  if (taken && seen && seen.deviceId !== visitor.deviceId) await tell(context, visitor, seen)
  return taken
}

/** That a turn passed on is told to the admin, and to the timeline of the machine that lost it. */
async function tell({ db, now, log }: Context, visitor: Visitor, lost: Lease): Promise<void> {
  const detail = { from: lost.serial, to: visitor.hostname }
  log.warn({ cluster: visitor.clusterId, ...detail }, 'the turn to go first passes on')
  await db.transaction(async (tx) => {
    await recordAudit(tx, now(), { name: 'server' }, 'cluster.lease.passed', `cluster:${visitor.cluster}`, detail)
    const event = { deviceId: lost.deviceId, enrollmentId: null, name: 'join.turn_lost', result: 'fail' as const }
    const words = 'it was not heard of for too long: another server goes first, and this one waits like the others'
    await recordEvents(tx, date(now()), [{ ...event, detail: { detail: words } }])
  })
}

/** What etcd keeps of a member's name must go before a machine of that name can join again. */
async function remove(context: Context, { clusterId, hostname, enrollmentId }: Visitor): Promise<void> {
  await context.db.transaction((tx) =>
    queueTask(context, tx, { clusterId, verb: 'node-delete', subject: hostname, enrollmentId }),
  )
  wakeCluster(context, clusterId)
}
