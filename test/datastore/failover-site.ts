import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { openManaged } from '../../src/datastore/open.ts'
import { managedEndpoint } from '../../src/k3s/datastore-address.ts'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import { clusterObserver } from '../../src/services/observe-clusters.ts'
import { openDesk } from '../fakes/desk.ts'
import { GateBox } from '../fakes/gate-box.ts'
import { addCluster, addProfile, makeWorld } from '../fakes/world.ts'
import { standbyOf } from '../standby-postgres.ts'
import { throwawayPostgres } from '../throwaway-postgres.ts'
import { type FirstServer, startFirstServer } from './first-server.ts'

const token = 'f0'.repeat(32)
/** What a server is told whose turn it is not. */
export const waits = '503 cluster_not_ready'
const known = ['200', waits, '503 datastore_unavailable', '503 busy']

export type Boxes = readonly GateBox[]

/** A roll on whichever of two PostgreSQL servers takes writes, and managed clusters on it, each with four servers that have their documents. */
export type Site = Awaited<ReturnType<typeof site>>

async function site(...names: string[]) {
  const primary = await throwawayPostgres(15, { synchronous_commit: 'on' })
  const standby = await standbyOf(primary)
  const world = await makeWorld({ url: standby.url, close: async () => {} })
  const address = `localhost:${primary.port},localhost:${standby.port}`
  const key = world.keys.nodePassword
  const server = { url: standby.url, connection: {} }
  const managed = openManaged({ server, address, ca: primary.ca, key, rollConnections: 6 })
  world.managed = managed
  const desk = await openDesk(world)
  const profile = await addProfile(world)
  const clusters: { cluster: string; boxes: Boxes }[] = []
  for (const name of names) {
    const cluster = await addCluster(world, { name, caHash: null, state: 'virgin', datastore: { kind: 'managed' } })
    await managed.declare(cluster)
    const boxes: GateBox[] = []
    for (let n = 0; n < 4; n++) boxes.push(await GateBox.add(desk, { profile, cluster }))
    clusters.push({ cluster, boxes })
  }
  const all = clusters.flatMap(({ boxes }) => boxes)
  return {
    ...{ standby, clusters },
    /** Asks for all until PostgreSQL answers each of them. */
    askAll: async (boxes: Boxes = all): Promise<string[]> => {
      for (;;) {
        const answers = await Promise.all(boxes.map((box) => box.ask()))
        assert.equal(
          answers.filter((answer) => !known.includes(answer)),
          [],
        )
        if (answers.every((answer) => answer === '200' || answer === waits)) return answers
        await sleep(200)
      }
    },
    k3sOf: (box: GateBox, held: boolean): Promise<FirstServer> => {
      const login = { role: loginRole(box.enrollment), password: loginPassword(key, box.enrollment) }
      const nodeName = box.serial.toLowerCase()
      return startFirstServer({ endpoint: managedEndpoint(address, login), ca: primary.ca, token, nodeName }, held)
    },
    failOver: async () => {
      await primary.crash()
      await standby.promote()
    },
    observe: clusterObserver(world, managed.observer),
    state: async (cluster: string) => {
      const [row] = await world.sql`select state, ca_hash from clusters where id = ${cluster}`
      return [row?.state, row?.ca_hash]
    },
    mayLogIn: async (box: GateBox) =>
      (await world.sql`select from pg_roles where rolname = ${loginRole(box.enrollment)} and rolcanlogin`).length === 1,
    end: async () => {
      await managed.close()
      await world.end()
      await standby.stop()
      await primary.stop()
    },
  }
}

/** Runs with a site of one's own, and ends all that it started. */
export async function onSite(
  names: string[],
  run: (site: Site, started: FirstServer[]) => Promise<void>,
): Promise<void> {
  const opened = await site(...names)
  const started: FirstServer[] = []
  try {
    await run(opened, started)
  } finally {
    await Promise.all(started.map((k3s) => k3s.die()))
    await opened.end()
  }
}
