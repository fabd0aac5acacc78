import { AppError } from '../errors.ts'
import { type DeviceState, isTombstone, nextState } from '../roll/state.ts'
import { recordAudit } from '../store/audit.ts'
import type { Drizzle } from '../store/database.ts'
import { type DeviceRow, lockDevice, type NewDevice, updateDevice } from '../store/devices.ts'
import { recordEvent } from '../store/events.ts'
import { date } from '../store/time.ts'
import type { Actor, Precondition } from './actor.ts'
import { buryDevice } from './bury-device.ts'
import type { Context } from './context.ts'
import type { ShownDevice } from './device-view.ts'
import { endAccess } from './end-access.ts'
import { keyOf, readByKey } from './read-devices.ts'
import { reinstateDevice } from './reinstate-device.ts'
import { rollTransaction } from './roll-transaction.ts'

export const deviceVerbs = ['approve', 'reject', 'revoke', 'retire', 'reinstate', 'arm', 'disarm', 'reenroll'] as const
export type DeviceVerb = (typeof deviceVerbs)[number]

/** Seconds that a device stays armed. DESIGN.md, "Three ways in". */
const armed = 86_400

export type CommandRequest = { serial: string; verb: DeviceVerb; precondition: Precondition }

/**
 * Does what an admin says to a device. What is so already changes nothing and is no error.
 * @throws AppError `not_found`, `precondition_failed`; `state_conflict` where the verb does not fit the state
 */
export async function commandDevice(context: Context, actor: Actor, request: CommandRequest): Promise<ShownDevice> {
  const serialKey = keyOf(request.serial)
  const buried = await rollTransaction(context, async (tx) => {
    const row = await lockDevice(tx, serialKey)
    if (!row) throw new AppError('not_found')
    request.precondition(row)
    const deed = await carryOut({ context, actor, tx, row }, request.verb)
    if (deed) await write({ context, actor, tx, row }, request.verb, deed)
    return deed && isTombstone(deed.change.state as DeviceState) ? row.id : undefined
  })
  if (buried !== undefined) await endAccess(context, buried)
  return readByKey(context.db, serialKey, context.now())
}

async function write({ context, actor, tx, row }: Command, verb: DeviceVerb, deed: Deed): Promise<void> {
  const now = context.now()
  await updateDevice(tx, row.id, date(now), deed.change)
  const detail = { by: actor.name, ...deed.detail }
  await recordEvent(tx, { deviceId: row.id, at: date(now), source: 'admin', name: told[verb], detail })
  await recordAudit(tx, now, actor, `device.${verb}`, `device:${row.serial}`, { from: row.state })
}

const told: Record<DeviceVerb, string> = {
  approve: 'approved',
  reject: 'rejected',
  revoke: 'revoked',
  retire: 'retired',
  reinstate: 'reinstated',
  arm: 'armed',
  disarm: 'disarmed',
  reenroll: 'reenroll.granted',
}

/** What a command works on. */
export type Command = { context: Context; actor: Actor; tx: Drizzle; row: DeviceRow }

/** What changes of a device, and what its timeline says of it. */
export type Deed = { change: Partial<NewDevice>; detail?: object | undefined }

/** @returns undefined = it is so already */
async function carryOut(command: Command, verb: DeviceVerb): Promise<Deed | undefined> {
  const { context, row } = command
  const now = context.now()
  switch (verb) {
    case 'arm':
      refuseTombstone(row, 'armed')
      return { change: { armedUntil: date(now + armed) } }
    case 'disarm':
      refuseTombstone(row, 'disarmed')
      return row.armedUntil === null ? undefined : { change: { armedUntil: null } }
    case 'reenroll':
      return grant(row)
    case 'reinstate':
      return reinstateDevice(command)
    case 'approve':
      return { change: { state: nextState(row.state as DeviceState, verb), stateSince: date(now), failure: null } }
    default: {
      const state = nextState(row.state as DeviceState, verb)
      return state === row.state ? undefined : buryDevice(command, state)
    }
  }
}

function refuseTombstone(row: DeviceRow, what: string): void {
  if (!isTombstone(row.state as DeviceState)) return
  throw new AppError('state_conflict', { detail: `a device that is ${row.state} cannot be ${what}` })
}

// Until it joined a device enrols again by itself, so there is nothing to grant before its first enrollment.
function grant(row: DeviceRow): Deed | undefined {
  refuseTombstone(row, 'enrolled again: reinstate it first')
  if (row.state === 'registered' || row.state === 'pending') {
    throw new AppError('state_conflict', { detail: `a device that is ${row.state} needs no leave to enrol` })
  }
  return row.reenrollGranted ? undefined : { change: { reenrollGranted: true } }
}
