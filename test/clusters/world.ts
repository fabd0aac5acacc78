import { join } from 'node:path'
import type { Sql } from 'postgres'
import { openStore } from '../../src/cli/open-store.ts'
import { loadConfig } from '../../src/config.ts'
import { laySimulator } from '../fakes/k3s/bundle.ts'
import { seed } from '../lab/images.ts'
import type { Lab, Layers } from '../lab/lab.ts'
import { labAddress } from '../lab/network.ts'
import { Server } from '../lab/server.ts'
import { throwawayPostgres } from '../throwaway-postgres.ts'
import { Balancer } from './balancer.ts'
import { type Releases, serveReleases } from './releases.ts'

/** What every case stands on: the real server on its own PostgreSQL, open to the boxes' network for managed clusters. */
export type World = {
  lab: Lab
  server: Server
  releases: Releases
  image: Layers
  /** Looks into the roll's own database, and does there what would take an admin's patience. */
  database: <T>(use: (sql: Sql) => Promise<T>) => Promise<T>
}

/** The embedded PostgreSQL, on a port of the lab's own network, where nobody else is. */
const embedded = {
  ROLLCALL_DATASTORE_ADDRESS: `${labAddress}:5432`,
  ROLLCALL_DATASTORE_NETWORKS: '10.80.0.0/16',
}

/** Debian's PostgreSQL 15, as an admin's own: our role is no superuser there. It ends with the lab. */
async function debianPostgres(): Promise<Record<string, string>> {
  const server = await throwawayPostgres(15, { max_connections: '400' }, [labAddress])
  const door = await Balancer.open({ host: '127.0.0.1', port: server.port })
  return {
    DATABASE_URL: server.url,
    ROLLCALL_DATASTORE_ADDRESS: `${labAddress}:${door.port}`,
    ROLLCALL_DATASTORE_CA: server.ca,
  }
}

export async function makeWorld(lab: Lab): Promise<World> {
  const releases = await serveReleases()
  const settings = process.env.ROLLCALL_CLUSTERS_POSTGRES === '15' ? await debianPostgres() : embedded
  const server = await Server.start(lab, releases, settings)
  await fillRoll(server, releases)
  const simulator = join(lab.dir, 'simulator')
  await laySimulator(simulator)
  // The golden image: its boxes call in by themselves, without any user-data.
  const layers = await lab.image('golden', 'bookworm', (root) => seed(server, root))
  const env = { ...settings, ROLLCALL_DATA_DIR: join(lab.dir, 'server') }
  const database = async <T>(use: (sql: Sql) => Promise<T>) => {
    const store = await openStore(loadConfig({ flags: {}, env, root: true }), () => {})
    return use(store.database.sql).finally(() => store.close())
  }
  return { lab, server, releases, image: [simulator, ...layers], database }
}

async function fillRoll(server: Server, { recorded }: Releases): Promise<void> {
  for (const one of recorded) await server.ask('POST', '/versions', one)
  for (const role of ['server', 'agent'])
    await server.ask('POST', '/profiles', {
      name: role,
      document: 'cloud-init',
      role,
      template: 'builtin:debian',
      vars: {},
    })
}
