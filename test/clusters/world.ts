import { join } from 'node:path'
import { laySimulator } from '../fakes/k3s/bundle.ts'
import { seed } from '../lab/images.ts'
import type { Lab, Layers } from '../lab/lab.ts'
import { labAddress } from '../lab/network.ts'
import { Server } from '../lab/server.ts'
import { type Releases, serveReleases } from './releases.ts'

/** What every case stands on: the real server on its own PostgreSQL, open to the boxes' network for managed clusters. */
export type World = { lab: Lab; server: Server; releases: Releases; image: Layers }

/** A port of the lab's own network, where nobody else is. */
const postgresPort = 5432

export async function makeWorld(lab: Lab): Promise<World> {
  const releases = await serveReleases()
  const server = await Server.start(lab, releases, {
    ROLLCALL_DATASTORE_ADDRESS: `${labAddress}:${postgresPort}`,
    ROLLCALL_DATASTORE_NETWORKS: '10.80.0.0/16',
  })
  await fillRoll(server, releases)
  const simulator = join(lab.dir, 'simulator')
  await laySimulator(simulator)
  // The golden image: its boxes call in by themselves, without any user-data.
  const layers = await lab.image('golden', 'bookworm', (root) => seed(server, root))
  return { lab, server, releases, image: [simulator, ...layers] }
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
