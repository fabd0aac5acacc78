import { z } from '@hono/zod-openapi'
import { assurances, roles } from '../../documents/profile.ts'
import { anyMembers } from '../../roll/device-input.ts'
import { deviceStates } from '../../roll/state.ts'
import { NodeSight } from './cluster-schema.ts'

const time = z.int().nullable()

const LastEnrollment = z
  .object({
    id: z.string(),
    live: z.boolean(),
    created_at: z.int(),
    role: z.enum(roles),
    hostname: z.string(),
    assurance: z.enum(assurances),
    profile_revision: z.int(),
    last_step: z.string().nullable(),
    last_result: z.string().nullable(),
    last_detail: z.string().nullable(),
    last_step_at: time,
    join_expires_at: z.int(),
    redeemed_at: time,
    applied_at: time,
    joined_at: time,
    ready_at: time,
    observed: z.boolean().describe('False: joined and ready are what the device reported'),
    ended_at: time,
    end_reason: z.string().nullable(),
  })
  .openapi('LastEnrollment')

/** A device as the API shows it. Times are Unix seconds. */
export const Device = z
  .object({
    id: z.string(),
    serial: z.string(),
    state: z.enum(deviceStates),
    state_since: z.int(),
    reported: z.boolean().describe('Joined or ready by its own word: its cluster has not shown it yet'),
    deadline: time.describe('Past it the device is stuck; null where nothing is awaited'),
    stuck_reason: z.string().nullable(),
    stuck_since: time,
    stuck_step: z.string().nullable().describe('The last step that it reported'),
    failure: z.string().nullable().describe('Why it is `failed`, or that its Node may be of another machine'),
    assurance: z.enum(assurances).nullable().describe('How strongly the live enrollment was proved'),
    profile: z.string(),
    cluster: z.string().nullable(),
    role: z.enum(roles).describe('Its own, else its profile’s'),
    hostname: z.string().describe('As given, else made from the serial; unique in its cluster once it has one'),
    identity: z
      .object({ kind: z.literal('key'), thumbprint: z.string(), jwk: z.record(z.string(), z.string()).nullable() })
      .nullable(),
    min_assurance: z.enum(assurances).nullable().describe('Its own; the profile’s is enforced beside it'),
    labels: z.record(z.string(), z.string()),
    vars: z.record(z.string(), z.json()).openapi(anyMembers),
    macs: z.array(z.string()),
    uuid: z.string().nullable(),
    note: z.string(),
    armed_until: time,
    reenroll_granted: z.boolean(),
    must_rejoin: z.boolean().describe('Its cluster was made anew'),
    unfinished: z.array(z.string()).describe('Of one that is revoked or retired: what it has not lost yet'),
    node: NodeSight.nullable().describe('What its cluster shows of it; null: nothing yet'),
    last_enrollment: LastEnrollment.nullable(),
    created_at: z.int(),
    updated_at: z.int(),
  })
  .openapi('Device')

/** A serial in a path. */
export const serialParam = z.object({
  serial: z.string().openapi({ example: 'SN-0001', description: 'In any case, percent-encoded' }),
})
