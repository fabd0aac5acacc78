import type { Context } from './context.ts'

/** Alarms an hour: a stranger makes as many keys as it likes, and neither a device's timeline nor the database is for it to fill. */
const most = { device: 3, process: 1_000 } as const

/**
 * Raises an alarm when somebody proved another key under a device's serial: a cloned box, or a forger.
 * At most one a device and key an hour (the row of the last one decides); written after the answer, so that its time tells nothing.
 */
export function strangerAlarm({ sql, now, log }: Pick<Context, 'sql' | 'now' | 'log'>) {
  const budget = hourly()
  const write = async (deviceId: string, thumbprint: string, time: number) => {
    const about = `key:${thumbprint}`
    await sql`
      with first as (
        insert into alarms (device_id, about, at) values (${deviceId}, ${about}, to_timestamp(${time}))
        on conflict (device_id, about) do update set at = excluded.at
        where alarms.at <= excluded.at - interval '1 hour' returning 1
      )
      insert into events (device_id, at, source, name, result, detail)
      select ${deviceId}, to_timestamp(${time}), 'server', 'alarm.stranger_key', 'fail',
        jsonb_build_object('thumbprint', ${thumbprint}::text, 'detail', 'another key signed a claim with this serial')
      from first`
  }
  return (deviceId: string, thumbprint: string): void => {
    const time = now()
    if (!budget.take(deviceId, time)) return
    write(deviceId, thumbprint, time).catch((error: unknown) =>
      log.warn({ err: error, device: deviceId }, 'alarm not written'),
    )
  }
}

/** Counts this process' alarms of the current hour. */
function hourly() {
  const taken = new Map<string, number>()
  let hour = 0
  let all = 0
  return {
    take(deviceId: string, now: number): boolean {
      const present = Math.floor(now / 3_600)
      if (present !== hour) {
        taken.clear()
        hour = present
        all = 0
      }
      const before = taken.get(deviceId) ?? 0
      if (before >= most.device || all >= most.process) return false
      taken.set(deviceId, before + 1)
      all++
      return true
    },
  }
}
