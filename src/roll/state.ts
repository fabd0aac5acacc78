import { AppError } from '../errors.ts'

export const deviceStates = [
  'registered',
  'pending',
  'enrolled',
  'installing',
  'joined',
  'ready',
  'failed',
  'revoked',
  'retired',
] as const
export type DeviceState = (typeof deviceStates)[number]

/**
 * What can happen to a device.
 * - `hold`: its claim waits for an admin; `approve`, `reject`: the admin's answer
 * - `enroll`: a claim was accepted; `rekey`: its key was replaced before it joined
 * - `progress`, `fail`, `ready`: it reported; `join`, `ready`: its cluster shows it; `unready`: it had called itself ready, and its cluster
 *   shows that it is not
 * - `revoke`, `retire`, `reinstate`: the admin's verbs
 */
export const deviceEvents = [
  'hold',
  'approve',
  'reject',
  'enroll',
  'rekey',
  'progress',
  'fail',
  'join',
  'ready',
  'unready',
  'revoke',
  'retire',
  'reinstate',
] as const
export type DeviceEvent = (typeof deviceEvents)[number]

const ends = { revoke: 'revoked', retire: 'retired' } as const
const onItsWay = { ...ends, enroll: 'enrolled', rekey: 'registered', join: 'joined', ready: 'ready' } as const

/**
 * Which event moves which state where; what is not here is refused.
 * A device that joined stays so whatever it reports late: a cluster's word outranks the device's. A revoked serial stays revoked when it is
 * retired, so that nobody makes a distrusted box merely an old one.
 */
export const transitions: Readonly<Record<DeviceState, Readonly<Partial<Record<DeviceEvent, DeviceState>>>>> = {
  registered: { ...ends, hold: 'pending', enroll: 'enrolled', rekey: 'registered' },
  pending: { ...ends, hold: 'pending', approve: 'registered', reject: 'revoked', rekey: 'registered' },
  enrolled: { ...onItsWay, progress: 'installing', fail: 'failed' },
  installing: { ...onItsWay, progress: 'installing', fail: 'failed' },
  failed: { ...onItsWay, progress: 'installing', fail: 'failed' },
  joined: {
    ...ends,
    enroll: 'enrolled',
    rekey: 'joined',
    progress: 'joined',
    fail: 'joined',
    join: 'joined',
    ready: 'ready',
  },
  ready: {
    ...ends,
    enroll: 'enrolled',
    rekey: 'ready',
    progress: 'ready',
    fail: 'ready',
    join: 'ready',
    ready: 'ready',
    unready: 'joined',
  },
  revoked: { revoke: 'revoked', retire: 'revoked', reinstate: 'registered' },
  retired: { revoke: 'revoked', retire: 'retired', reinstate: 'registered' },
}

/** A device that only an admin's `reinstate` brings back; its serial stays taken. */
export type Tombstone = 'revoked' | 'retired'

export function isTombstone(state: DeviceState): state is Tombstone {
  return state === 'revoked' || state === 'retired'
}

/**
 * The state after an event.
 * @throws AppError `state_conflict` when the event does not fit the state
 */
export function nextState(state: DeviceState, event: DeviceEvent): DeviceState {
  const next = transitions[state][event]
  if (!next) throw new AppError('state_conflict', { detail: `a device that is ${state} cannot ${phrase[event]}` })
  return next
}

const phrase: Record<DeviceEvent, string> = {
  hold: 'be held for approval',
  approve: 'be approved: only a pending one can',
  reject: 'be rejected: only a pending one can',
  enroll: 'enrol',
  rekey: 'be given another key',
  progress: 'make progress',
  fail: 'fail',
  join: 'join',
  ready: 'become ready',
  unready: 'turn out not to be ready',
  revoke: 'be revoked',
  retire: 'be retired',
  reinstate: 'be reinstated: only a revoked or retired one can',
}
