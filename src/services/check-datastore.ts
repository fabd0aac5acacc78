import type { Finding, Look } from '../datastore/finding.ts'
import { probeEtcd } from '../datastore/probe-etcd.ts'
import { probeMysql } from '../datastore/probe-mysql.ts'
import { probePostgres } from '../datastore/probe-postgres.ts'
import { AppError, type FieldError } from '../errors.ts'
import { bootstrapName } from '../k3s/bootstrap.ts'
import { ClusterSpec, type Datastore } from '../k3s/cluster.ts'
import { checkDatastore } from '../k3s/datastore.ts'
import { countServers, findCluster } from '../store/clusters.ts'
import { checkManaged } from './check-managed.ts'
import { place, specOf } from './cluster-view.ts'
import type { Context } from './context.ts'
import { parse, refuse } from './invalid.ts'
import { mergePatch } from './merge-patch.ts'

export type { Finding }

/** Servers that a cluster is thought to get, before any is on the roll: what makes it highly available. */
const usualServers = 2

const probes: Partial<Record<Datastore['kind'], (look: Look) => Promise<Finding[]>>> = {
  postgres: probePostgres,
  mysql: probeMysql,
  etcd: probeEtcd,
}

type Deps = Pick<Context, 'managed'> & Partial<Pick<Context, 'db'>>
type Known = Pick<Context, 'db' | 'vault' | 'managed'>

/**
 * Tries the datastore of a cluster that is about to be declared. Whatever lies in it already belongs to somebody else.
 * @param asked a managed one is tried whether or not somebody asks for it (create-cluster.ts), and what is not well with it is always said
 * @returns what is no reason to refuse it; undefined if there is nothing to say
 * @throws AppError `invalid` with what would keep K3s from coming up on it
 */
export async function checkNewDatastore(deps: Deps, spec: ClusterSpec, asked: boolean): Promise<Finding[] | undefined> {
  if (spec.datastore.kind === 'managed') {
    const found = await warningsOf(deps)
    return asked || found.length > 0 ? found : undefined
  }
  if (!asked) return undefined
  return refuseErrors(await lookAt(deps, spec.datastore, { servers: usualServers, bootstrapName: '' }))
}

/** The same for a change: as it would be after the patch. @throws AppError `not_found`, `invalid` */
export async function checkChangedDatastore(context: Known, name: string, patch: unknown): Promise<Finding[]> {
  const { row, expected } = await expectation(context, name)
  const spec = parse(ClusterSpec, mergePatch(specOf(row, context.vault), patch))
  return refuseErrors(await lookAt(context, spec.datastore, expected))
}

/** All that a look at a cluster's datastore finds. @throws AppError `not_found` */
export async function examineDatastore(context: Known, name: string): Promise<Finding[]> {
  const { row, expected } = await expectation(context, name)
  return lookAt(context, specOf(row, context.vault).datastore, expected)
}

/** All that a look at a datastore finds which no cluster has yet. @throws AppError `invalid` */
export async function examineLoose(datastore: Datastore): Promise<Finding[]> {
  return lookAt({ managed: undefined }, datastore, { servers: usualServers, bootstrapName: '' })
}

async function expectation({ db, vault }: Known, name: string) {
  const row = await findCluster(db, name)
  if (!row) throw new AppError('not_found')
  const token = vault.open(place.serverToken(row.id), row.serverTokenSealed).toString()
  const servers = Math.max(usualServers, await countServers(db, row.id))
  return { row, expected: { servers, bootstrapName: bootstrapName(token) } }
}

async function lookAt(
  deps: Deps,
  datastore: Datastore,
  expected: Pick<Look, 'servers' | 'bootstrapName'>,
): Promise<Finding[]> {
  const { kind, endpoint = '', cafile, certfile, keyfile } = datastore
  refuse(checkDatastore(datastore))
  if (kind === 'managed') return lookAtManaged(deps)
  return (await probes[kind]?.({ endpoint, cafile, certfile, keyfile, ...expected })) ?? []
}

async function lookAtManaged({ managed, db }: Deps): Promise<Finding[]> {
  try {
    if (db) await checkManaged({ managed, db }, 0)
    return await warningsOf({ managed })
  } catch (thrown) {
    if (!(thrown instanceof AppError) || !thrown.errors) throw thrown
    return thrown.errors.map(({ reason }) => ({ severity: 'error', code: 'managed', text: reason }))
  }
}

// Whether it can be used at all is said elsewhere.
const warningsOf = async ({ managed }: Deps): Promise<Finding[]> => (await managed?.warnings().catch(() => [])) ?? []

function refuseErrors(findings: readonly Finding[]): Finding[] {
  const errors = findings.filter(({ severity }) => severity === 'error')
  refuse(errors.map(({ text }): FieldError => ({ path: 'datastore', reason: text })))
  return findings.filter(({ severity }) => severity !== 'error')
}
