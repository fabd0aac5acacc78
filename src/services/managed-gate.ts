import type { Bootstrap, ManagedDatastore } from '../datastore/managed.ts'
import { AppError } from '../errors.ts'
import { openBootstrap } from '../k3s/bootstrap.ts'
import { loginPassword } from '../k3s/datastore-names.ts'
import { type Asker, noteBootstrap } from '../store/gate.ts'
import { holdEnrollment, noteFenced, noteLogin, noteRestored } from '../store/gate-logins.ts'
import { askManaged } from './ask-managed.ts'
import type { Context } from './context.ts'
import { learnCaHash } from './learn-ca-hash.ts'
import type { GatePorts } from './pass-gate.ts'
import { stop } from './stop-cluster.ts'

type ManagedPorts = Required<Pick<GatePorts, 'readBootstrap' | 'learn' | 'fence' | 'restore' | 'login'>>

/**
 * What the gate does to a managed datastore. A Postgres that refuses is 503: the server asks again, and nothing of what it has is lost.
 * @param serverToken of the cluster
 */
export function managedGate(context: Context, asker: Asker, serverToken: () => Promise<string>): ManagedPorts {
  const { sql, keys, now } = context
  const ask = <T>(question: (managed: ManagedDatastore) => Promise<T>): Promise<T> => askManaged(context, question)
  const make = (enrollmentId: string) => {
    const password = loginPassword(keys.nodePassword, enrollmentId)
    return sql.begin(async (tx) => {
      if (!(await holdEnrollment(tx, enrollmentId))) throw new AppError('token_invalid')
      await ask((managed) => managed.makeLogin(asker.clusterId, enrollmentId, password))
    })
  }
  const fence = async (enrollmentIds: readonly string[]) => {
    await Promise.all(enrollmentIds.map((id) => ask((managed) => managed.fenceLogin(id))))
    await noteFenced(sql, enrollmentIds, now())
  }
  let value: Uint8Array | undefined
  return {
    readBootstrap: async () => {
      const token = await serverToken()
      const row = await read(context, asker.clusterId, (managed) => managed.readBootstrap(asker.clusterId, token))
      value = row.value
      await noteBootstrap(sql, asker.clusterId, row.state)
      return row.state
    },
    learn: async () => {
      const opened = await openBootstrap(value ?? new Uint8Array(), await serverToken())
      if ('trouble' in opened) return stop(context, asker.clusterId, { reason: unreadable(opened.trouble) })
      await learnCaHash(context, { clusterId: asker.clusterId, caHash: opened.caHash, from: 'datastore' })
    },
    fence,
    restore: async (enrollmentIds) => {
      for (const id of await noteRestored(sql, enrollmentIds)) {
        // It redeems again when its K3s does not come up: not worth failing this one for.
        await make(id).catch((err: Error) => context.log.warn({ err, enrollment: id }, 'a login was not given back'))
      }
    },
    login: {
      note: () => noteLogin(sql, asker, now()),
      make: () => make(asker.enrollmentId),
      end: () => fence([asker.enrollmentId]),
    },
  }
}

const unreadable = (trouble: string) =>
  `its bootstrap row says nothing to its server token (${trouble}): somebody else wrote it, or the token was rotated without a word (verbs rotated, reset)`

// What is no table of K3s is not asked again: a person has to look at it (reference: k3s.md §9).
async function read(
  context: Context,
  clusterId: string,
  question: (managed: ManagedDatastore) => Promise<Bootstrap>,
): Promise<Bootstrap> {
  try {
    return await askManaged(context, question)
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'state_conflict') throw error
    await stop(context, clusterId, { reason: error.detail ?? 'datastore_tampered' })
    throw new AppError('cluster_not_ready', {
      detail: 'the cluster is stuck; an admin has to look at it',
      retryAfter: 300,
    })
  }
}
