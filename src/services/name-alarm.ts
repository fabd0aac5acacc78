import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { recordEvents } from '../store/events.ts'
import { lockTakenName, noteFailure, type TakenName } from '../store/name-alarm.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'

type Deps = Pick<Context, 'db' | 'now' | 'log'>

/**
 * Says that a Node which has a device's name may be another machine's: on the device (`failure`), in its timeline, the audit and the log, once for as
 * long as it is so. Whoever made that Node cannot be told from here; the devices whose own Node is missing are named beside it.
 * @param why in words, what speaks against the device having made it
 */
export async function nameAlarm(deps: Deps, tx: Drizzle, enrollmentId: string, why: string): Promise<void> {
  const taken = await lockTakenName(tx, enrollmentId, deps.now())
  if (taken) await tell(deps, tx, enrollmentId, taken, why)
}

/** The same for a device that says that it cannot join, or is not ready, while its cluster has called the Node of its name Ready for a while. */
export async function contradiction(deps: Deps, enrollmentId: string, step: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const taken = await lockTakenName(tx, enrollmentId, deps.now())
    if (taken?.alive) await tell(deps, tx, enrollmentId, taken, `it says that ${step} failed`)
  })
}

async function tell(
  { now, log }: Deps,
  tx: Drizzle,
  enrollmentId: string,
  { device_id: deviceId, serial, cluster, ...beside }: TakenName,
  why: string,
): Promise<void> {
  const failure = `another machine may have its name: the cluster shows a Node ${beside.node}, but ${why}; delete that Node, and if it comes back see docs/clusters.md, "A name that is taken"`
  if (!(await noteFailure(tx, deviceId, failure, now()))) return
  const { node, without_node, strangers } = beside
  const detail = { node, without_node, strangers, detail: failure }
  log.error(
    { cluster, device: deviceId, node, without_node, strangers },
    'alarm: a Node may have the name of another machine',
  )
  await recordEvents(tx, date(now()), [{ deviceId, enrollmentId, name: 'alarm.node_name', result: 'fail', detail }])
  await recordAudit(tx, now(), { name: 'server' }, 'device.alarm.node_name', `device:${serial}`, { cluster, ...detail })
}
