import { AppError } from '../errors.ts'
import { whyNot } from '../roll/serial.ts'
import type { Drizzle } from '../store/database.ts'
import { type DeviceFilter, findDevice, listDevices } from '../store/devices.ts'
import type { Context } from './context.ts'
import { type DeviceBody, type ShownDevice, showDevices } from './device-view.ts'

/**
 * What a serial in a path is looked up by.
 * @throws AppError `not_found` for what cannot be a serial
 */
export function keyOf(serial: string): string {
  if (whyNot(serial.trim()) !== undefined) throw new AppError('not_found')
  return serial.trim().toLowerCase()
}

/** @throws AppError `not_found` */
export function readDevice({ db, now }: Context, serial: string): Promise<ShownDevice> {
  return readByKey(db, keyOf(serial), now())
}

/** In the order of their registration. */
export async function readDevices({ db, now }: Context, filter: DeviceFilter): Promise<DeviceBody[]> {
  const shown = await showDevices(db, await listDevices(db, filter), now())
  return shown.map(({ body }) => body)
}

/** @throws AppError `not_found` */
export async function readByKey(db: Drizzle, serialKey: string, now: number): Promise<ShownDevice> {
  const detail = await findDevice(db, serialKey)
  if (!detail) throw new AppError('not_found')
  const [shown] = await showDevices(db, [detail], now)
  return shown as ShownDevice
}
