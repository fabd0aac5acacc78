import type { Context } from './context.ts'

/**
 * Raises an alarm when somebody proved another key under a device's serial: a cloned box, or a forger.
 * At most one a device and key an hour (the row of the last one decides); written after the answer, so that its time tells nothing.
 */
export function strangerAlarm({ sql, now, log }: Pick<Context, 'sql' | 'now' | 'log'>) {
  const write = async (deviceId: string, thumbprint: string) => {
    const time = now()
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
    write(deviceId, thumbprint).catch((error: unknown) =>
      log.warn({ err: error, device: deviceId }, 'alarm not written'),
    )
  }
}
