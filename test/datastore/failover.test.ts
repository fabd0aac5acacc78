import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { openManaged } from '../../src/datastore/open.ts'
import { managedEnv } from '../../src/k3s/datastore.ts'
import { managedEndpoint } from '../../src/k3s/datastore-address.ts'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import { clusterObserver } from '../../src/services/observe-clusters.ts'
import { openDesk } from '../fakes/desk.ts'
import { GateBox } from '../fakes/gate-box.ts'
import { startServer } from '../fakes/k3s/server.ts'
import { addCluster, addProfile, makeWorld } from '../fakes/world.ts'
import { testsWithKine } from '../kine/program.ts'
import { type Kine, startKine } from '../kine/start.ts'
import { type Standby, standbyOf } from '../standby-postgres.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'

const test = suite('a managed cluster begins while PostgreSQL 15 fails over', { timeout: 240_000 })
// Debian's binaries: the embedded 18 brings no pg_basebackup.
const withKine = majors.includes(15) ? testsWithKine(test) : () => {}
const token = 'f0'.repeat(32)
const known = ['200', '503 cluster_not_ready', '503 datastore_unavailable', '503 busy']

type Pair = { primary: Throwaway; standby: Standby }

/** Two PostgreSQL servers, a roll on whichever takes writes, and a managed cluster with ten servers that have their documents. */
async function site() {
  const primary = await throwawayPostgres(15, { synchronous_commit: 'on' })
  const standby = await standbyOf(primary)
  const world = await makeWorld({ url: standby.url, close: async () => {} })
  const address = `localhost:${primary.port},localhost:${standby.port}`
  const server = { url: standby.url, connection: {} }
  const key = world.keys.nodePassword
  const managed = openManaged({ server, address, ca: primary.ca, key, rollConnections: 6 })
  world.managed = managed
  const desk = await openDesk(world)
  const profile = await addProfile(world)
  const cluster = await addCluster(world, { caHash: null, state: 'virgin', datastore: { kind: 'managed' } })
  await managed.declare(cluster)
  const boxes: GateBox[] = []
  for (let n = 0; n < 10; n++) boxes.push(await GateBox.add(desk, { profile, cluster }))
  const said = new Set<string>()
  const askAll = async () => {
    const answers = await Promise.all(boxes.map((box) => box.ask()))
    for (const answer of answers) said.add(answer)
    return answers
  }
  /** Asks until Postgres answers everybody again. */
  const askUntilAnswered = async () => {
    for (;;) {
      const answers = await askAll()
      if (!answers.some((answer) => /datastore_unavailable|busy/.test(answer))) return answers
      await sleep(200)
    }
  }
  const state = async () =>
    (
      await world.sql<{ state: string; ca_hash: string }[]>`select state, ca_hash from clusters where id = ${cluster}`
    )[0]
  const observe = clusterObserver(world, managed.observer)
  const end = async () => {
    await managed.close()
    await world.end()
    await standby.stop()
    await primary.stop()
  }
  return { pair: { primary, standby }, world, address, boxes, said, askAll, askUntilAnswered, state, observe, end }
}

const failOver = async ({ primary, standby }: Pair) => {
  await primary.crash()
  await standby.promote()
}

/** K3s on the real kine, which stays where the hold is; like systemd, it is started again when it dies. */
function k3sOn(ca: string, address: string, key: Uint8Array, box: GateBox) {
  const root = mkdtempSync(join(tmpdir(), 'k3s-failover-'))
  const folder = join(root, 'var/lib/k3s-sim')
  for (const directory of [join(folder, 'hold'), join(root, 'etc/rancher/node')])
    mkdirSync(directory, { recursive: true })
  writeFileSync(join(root, 'etc/rancher/node/password'), 'ab'.repeat(16))
  writeFileSync(join(folder, 'hold/locked'), '')
  writeFileSync(join(folder, 'steps'), '')
  writeFileSync(join(root, 'ca.pem'), ca)
  const login = { role: loginRole(box.enrollment), password: loginPassword(key, box.enrollment) }
  const endpoint = managedEndpoint(address, login)
  const ends: (() => Promise<void>)[] = []
  let over = false
  let starts = 0
  // The real one gives up when its datastore does not answer; the one here would wait for it.
  const deadAfterHold = async (): Promise<never> => {
    while (existsSync(join(folder, 'hold/locked'))) await sleep(50)
    // Its next start finds its own lock, and waits for 25 s as K3s does.
    for (const end = Date.now() + (starts++ === 0 ? 5_000 : 40_000); Date.now() < end && !over; ) await sleep(50)
    throw new Error('its datastore does not answer')
  }
  const once = async () => {
    let kine: Kine | undefined
    try {
      kine = await startKine({ endpoint, cafile: join(root, 'ca.pem'), env: managedEnv, patience: 10_000 })
      const stop = kine.stop
      const names = { nodeName: box.serial.toLowerCase(), sans: [], version: 'v1.36.3+k3s1' }
      const starting = startServer({
        ...{ root, client: kine.client, token, ...names, host: '127.0.0.1', port: 0, say: () => {} },
      })
      starting.catch(() => {})
      const running = await Promise.race([starting, deadAfterHold()])
      ends.push(async () => {
        await running.close()
        await stop()
      })
      return true
    } catch {
      await kine?.stop()
      return false
    }
  }
  const runs = (async () => {
    while (!over && !(await once())) await sleep(500)
  })()
  const reached = (step: string) => readFileSync(join(folder, 'steps'), 'utf8').split('\n').includes(step)
  return {
    runs,
    reached,
    reaches: async (step: string) => {
      while (!reached(step)) await sleep(20)
    },
    letGo: () => rmSync(join(folder, 'hold/locked'), { force: true }),
    stop: async () => {
      over = true
      rmSync(join(folder, 'hold/locked'), { force: true })
      await runs
      await Promise.all(ends.map((end) => end()))
      rmSync(root, { recursive: true, force: true })
    },
  }
}

withKine('with a standby that has all: the first server goes on with its lock, and the others join it', async () => {
  const { pair, world, address, boxes, said, askUntilAnswered, state, observe, end } = await site()
  let k3s: ReturnType<typeof k3sOn> | undefined
  try {
    await pair.standby.synchronise()
    const before = await askUntilAnswered()
    assert.is(before.filter((answer) => answer === '200').length, 1, before.join())
    const first = boxes[before.indexOf('200')] as GateBox
    k3s = k3sOn(pair.primary.ca, address, world.keys.nodePassword, first)
    await k3s.reaches('locked')
    const storm = askUntilAnswered()
    await failOver(pair)
    await storm
    k3s.letGo()
    await k3s.reaches('listening')
    assert.equal(
      await askUntilAnswered(),
      boxes.map(() => '200'),
    )
    assert.is((await state())?.state, 'up')
    await observe()
    assert.equal(
      [...said].filter((answer) => !known.includes(answer)),
      [],
    )
  } finally {
    await k3s?.stop()
    await end()
  }
})
