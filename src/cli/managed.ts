import { X509Certificate } from 'node:crypto'
import { isIP } from 'node:net'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import type { OwnServer } from '../datastore/connect.ts'
import type { ManagedDatastore } from '../datastore/managed.ts'
import { openManaged } from '../datastore/open.ts'
import { type DatastoreHost, parseDatastoreAddress } from '../k3s/datastore-address.ts'
import { clustersDatabase, nodesGroup, observerRole } from '../k3s/datastore-names.ts'
import type { Embedded } from '../postgres/embedded.ts'
import type { Door } from '../postgres/settings.ts'
import type { ServerKeys } from '../services/context.ts'
import { makeLeaf } from '../tls/certificates.ts'
import type { TlsIdentity } from '../tls/identity.ts'

type Shared = { keys: ServerKeys; tls: TlsIdentity; embedded: Embedded | undefined }

/** The clusters' datastore, if there is to be one. */
export function managedOf(
  config: Config,
  server: OwnServer,
  { keys, tls, embedded }: Shared,
): ManagedDatastore | undefined {
  if (!config.datastore) return undefined
  const { address, ca = tls.ca.certificate } = config.datastore
  const rollConnections = Math.ceil(config.databasePool * 1.5)
  const secure = embedded && (() => embedded.closeAdvisoryLocks(clustersDatabase))
  return openManaged({ server, address, ca, key: keys.nodePassword, rollConnections, secure })
}

/** What the embedded PostgreSQL lets in over the network, if nodes are to come. */
export function doorOf({ datastore }: Config): Door | undefined {
  if (!datastore || datastore.networks.length === 0) return undefined
  // Our own role is a member of each node's, and so of their group.
  return {
    database: clustersDatabase,
    group: nodesGroup,
    never: ['rollcall', observerRole],
    networks: datastore.networks,
  }
}

/**
 * Makes what managed clusters share, as far as it can be made now: what is in the way is logged, and an admin hears it again when a
 * cluster is declared.
 * @param now Unix seconds
 */
export async function prepareManaged(config: Config, store: Parts, log: Logger, now: number): Promise<void> {
  const { managed, embedded } = store
  if (!managed) return
  if (embedded) await certify(config, embedded, store.tls, now)
  try {
    await managed.ready()
    for (const { text } of await managed.warnings()) log.warn(`managed datastores: ${text}`)
  } catch (error) {
    log.error({ err: { message: (error as Error).message } }, 'managed datastores cannot be used yet')
  }
  if (embedded && !embedded.hasUnit()) {
    log.warn(
      'clusters depend on the embedded PostgreSQL, which stays up when this process ends: run `rollcall postgres` as a unit of its own, or systemd ends it with this one',
    )
  }
}

type Parts = { managed: ManagedDatastore | undefined; embedded: Embedded | undefined; tls: TlsIdentity }

/** Seconds before its end that a certificate is made anew. */
const renewal = 365 * 86_400

/**
 * Gives the embedded PostgreSQL a certificate from our CA for the name that nodes call it by, unless another authority was configured.
 * @param now Unix seconds
 */
export async function certify(config: Config, embedded: Embedded, { ca }: TlsIdentity, now: number): Promise<void> {
  if (!config.datastore || config.datastore.ca !== undefined) return
  const hosts = (parseDatastoreAddress(config.datastore.address) as DatastoreHost[]).map(({ host }) => host)
  const names = [...new Set([...hosts, 'localhost', '127.0.0.1', '::1'])]
  await embedded.certify(async (key, present) => {
    if (isGood(present, ca.certificate, names, now)) return undefined
    return (await makeLeaf(ca, key, names, now)) + ca.certificate
  })
}

function isGood(present: string, authority: string, names: readonly string[], now: number): boolean {
  const leaf = new X509Certificate(present)
  const ends = Date.parse(leaf.validTo) / 1000
  const covers = (name: string) => (isIP(name) ? leaf.checkIP(name) : leaf.checkHost(name)) !== undefined
  return leaf.verify(new X509Certificate(authority).publicKey) && ends - now > renewal && names.every(covers)
}
