import { AppError } from '../errors.ts'
import { clustersDatabase, loginRole, observerRole, probeRole, sharedLoginPassword } from '../k3s/datastore-names.ts'
import { bootstrapReads } from './bootstrap-reads.ts'
import { checkAddress } from './check-address.ts'
import { connect, type OwnServer } from './connect.ts'
import { copyIn, copyOut } from './copy.ts'
import { fenceRole } from './fence.ts'
import { openLockWatch } from './lock-watch.ts'
import { dropLogin, makeLogin } from './logins.ts'
import type { ManagedDatastore } from './managed.ts'
import { connectObserver, openObserver } from './observer.ts'
import { provision, Unusable } from './provision.ts'
import { settled } from './race.ts'
import { readApart } from './read-apart.ts'
import { readBootstrap } from './read-bootstrap.ts'
import { declareSchema, purgeSchema } from './schemas.ts'
import { endStuckReads } from './stuck-reads.ts'
import { unblocked } from './unblock.ts'
import { managedWarnings } from './warnings.ts'

export type ManagedOptions = {
  /** The server that holds the roll, as our own role reaches it */
  server: OwnServer
  /** What nodes are told: `host[:port]`, several with commas */
  address: string
  /** PEM */
  ca: string
  /** The server's key for node passwords, 32 bytes: the observer's and the probe's passwords are derived from it */
  key: Uint8Array
  /** Connections of the roll's own pools, for the budget */
  rollConnections: number
  /** What only a superuser can do in the clusters' database, where there is one at hand: nothing is used before it is done */
  secure?: (() => Promise<void>) | undefined
}

/** Connections of our own role in the clusters' database, of the observer on its rounds and, for two lanes, when it is asked, and of who watches the locks. */
const pool = { own: 4, observer: 2, asked: 2, watch: 2 } as const

/** Milliseconds: who watches the locks is idle in a transaction, and no look waits long for an admin who has a catalog to himself. */
const watching = { idle_in_transaction_session_timeout: 0, lock_timeout: 500 } as const

/** Seconds: the observer's own limits are below. */
const longestRead = 8

/**
 * The clusters' PostgreSQL. Connects when first asked for something, and makes then what all clusters share, once.
 * @throws at the first use: Error with a sentence for the admin if our role may not do that
 */
export function openManaged({ server, address, ca, key, rollConnections, secure }: ManagedOptions): ManagedDatastore {
  const passwords = { observer: sharedLoginPassword(key, observerRole), probe: sharedLoginPassword(key, probeRole) }
  const sql = connect(server, { database: clustersDatabase, max: pool.own })
  const login = { user: observerRole, password: passwords.observer }
  const observing = {
    connect: () => connectObserver(server, passwords.observer),
    onStuck: async (pid: number | undefined) => {
      const running = await settled(() => endStuckReads(sql, longestRead))
      return pid !== undefined && running.includes(pid)
    },
  }
  const observer = openObserver({ ...observing, sessions: pool.observer })
  // Apart from the rounds: the servers of a hostile cluster may ask without end, and no other cluster is seen later for it.
  const [asked, doubted] = [openObserver({ ...observing, sessions: 1 }), openObserver({ ...observing, sessions: 1 })]
  const locks = openLockWatch(() =>
    connect(server, { database: clustersDatabase, max: 1, lasts: true, settings: watching }),
  )
  const bootstrapOf = bootstrapReads(
    readApart((clusterId, serverToken, apart) => readBootstrap(apart ? doubted : asked, clusterId, serverToken)),
  )
  let provisioned: Promise<void> | undefined
  const ready = () => {
    provisioned ??= provision(server, passwords)
      .then(secure)
      .catch((error) => {
        provisioned = undefined
        throw error
      })
    return provisioned
  }
  const change = async (work: () => Promise<void>) => {
    await ready()
    await settled(work)
  }
  return {
    address,
    ca,
    observer,
    locks: {
      ...locks,
      look: async () => {
        await ready()
        return locks.look()
      },
    },
    ready,
    check: async (serverNodes) => {
      await usable(ready)
      const own = rollConnections + pool.own + pool.observer + pool.asked + pool.watch
      await checkAddress({ address, ca, password: passwords.probe, own, serverNodes })
    },
    warnings: async () => {
      await ready()
      return managedWarnings(sql, address)
    },
    declare: (clusterId) => change(() => declareSchema(sql, clusterId)),
    makeLogin: async (clusterId, enrollmentId, password) => {
      await change(() => makeLogin(sql, clusterId, enrollmentId, password))
      // Before anybody can log in by it.
      await locks.learn()
    },
    fenceLogin: (enrollmentId) => change(() => fenceRole(sql, loginRole(enrollmentId))),
    dropLogin: (clusterId, enrollmentId) =>
      change(() => unblocked(sql, () => dropLogin(server, sql, clusterId, enrollmentId))),
    readBootstrap: async (clusterId, serverToken) => {
      await ready()
      return bootstrapOf(clusterId, serverToken)
    },
    purge: (clusterId) => change(() => unblocked(sql, () => purgeSchema(server, sql, clusterId))),
    copyOut: async (clusterId, use) => {
      await ready()
      const session = connect(server, { database: clustersDatabase, login, max: 1 })
      await copyOut(session, clusterId, use).finally(() => session.end({ timeout: 1 }))
    },
    copyIn: async (clusterId, rows, replace) => {
      await ready()
      await copyIn(sql, clusterId, rows, replace)
    },
    close: async () => {
      await Promise.all([sql.end({ timeout: 5 }), observer.close(), asked.close(), doubted.close(), locks.close()])
    },
  }
}

// What an admin can mend is said to the one who declares a cluster; that Postgres is away is not.
async function usable(ready: () => Promise<void>): Promise<void> {
  try {
    await ready()
  } catch (error) {
    if (!(error instanceof Unusable)) throw error
    throw new AppError('invalid', { errors: [{ path: 'datastore.kind', reason: error.message }] })
  }
}
