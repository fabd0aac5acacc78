import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { createApp } from '../../src/app.ts'
import { operationsOf } from '../../src/operations.ts'
import { type TaskPolls, taskPolls } from '../../src/services/poll-tasks.ts'
import { queueTask, wakeCluster } from '../../src/services/queue-task.ts'
import { hearWakes, taskWaker } from '../../src/services/task-wake.ts'
import { openDatabase } from '../../src/store/database.ts'
import { ClusterNode } from '../fakes/cluster-node.ts'
import { addCluster, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('tasks of two servers on one database', { timeout: 60_000 })

type Replica = { context: World; polls: TaskPolls; app: ReturnType<typeof createApp>; stop: () => Promise<void> }

let world: World
let replicas: [Replica, Replica]
let profile: string
let count = 0

/** A server as `serve` puts it together: polls, and an ear for what the other one wakes. */
async function replica(base: World): Promise<Replica> {
  const polls = taskPolls(base)
  const context = { ...base, wake: taskWaker(base, polls.wake) }
  const hearing = await new Promise<ReturnType<typeof hearWakes>>((done) => {
    const listening = hearWakes(
      { listen: (channel, hear) => base.listen(channel, hear, () => done(listening)) },
      polls.wake,
    )
  })
  return { context, polls, app: createApp(context, operationsOf(context), polls), stop: () => hearing.stop() }
}

test.before(async () => {
  world = await makeWorld()
  const second = openDatabase(world.url, { pool: 4 })
  replicas = [await replica(world), await replica({ ...world, ...second, end: () => second.close() })]
  profile = await addProfile(world)
})
test.after(async () => {
  for (const { polls, stop } of replicas) {
    polls.close()
    await stop()
  }
  await replicas[1].context.end()
  await world.end()
})

/** A cluster with two servers of its own, one at each of ours. */
async function site() {
  const cluster = await addCluster(world, { name: `wake-${++count}` })
  const nodes = await Promise.all(replicas.map(({ app }) => ClusterNode.add(world, app, { profile, cluster })))
  return { cluster, nodes: nodes as [ClusterNode, ClusterNode] }
}

async function queue({ context }: Replica, clusterId: string, ...subjects: string[]) {
  const tasks = subjects.map((subject) => ({ clusterId, verb: 'node-delete' as const, subject }))
  await context.db.transaction((tx) => queueTask(context, tx, ...tasks))
  wakeCluster(context, clusterId)
}

const held = async ({ polls }: Replica, n = 1) => {
  for (let i = 0; i < 400 && polls.held() < n; i++) await sleep(5)
  assert.is(polls.held(), n)
}
const idsIn = (text: string) => [...text.matchAll(/^tsk_\w+/gm)].map(([id]) => id)

test('wake each other’s polls within a moment', async () => {
  const { cluster, nodes } = await site()
  const poll = nodes[1].poll(20)
  await held(replicas[1])
  const from = Date.now()
  await queue(replicas[0], cluster, 'n1')
  assert.match(await (await poll).text(), 'node-delete n1')
  assert.ok(Date.now() - from < 3_000, `${Date.now() - from} ms`)
})

test('never hand the same task out twice while it is fresh', async () => {
  const { cluster, nodes } = await site()
  await queue(replicas[0], cluster, ...Array.from({ length: 150 }, (_, i) => `n${i}`))
  const answers = await Promise.all([0, 1, 2, 3].map((i) => nodes[i % 2 === 0 ? 0 : 1].poll()))
  const ids = (await Promise.all(answers.map((answer) => answer.text()))).flatMap(idsIn)
  assert.is(ids.length, 150)
  assert.is(new Set(ids).size, 150)
  const all = ids.map((id) => `${id} ok`).join('\n')
  assert.equal(
    (await Promise.all(nodes.map((node) => node.tell(all)))).map(({ status }) => status),
    [204, 204],
  )
  const [row] =
    await world.sql`select count(*)::int as open from tasks where cluster_id = ${cluster} and done_at is null`
  assert.is(row?.open, 0)
})

test('send few notifications, however many clusters are woken', async () => {
  let sent = 0
  const sql = new Proxy(world.sql, {
    apply: (target, self, args) => {
      sent++
      return Reflect.apply(target as never, self, args)
    },
  })
  const here: string[] = []
  const wake = taskWaker({ sql, log: world.log }, (id) => here.push(id))
  for (let i = 0; i < 600; i++) wake(`clu_${i}`)
  await sleep(400)
  assert.is(sent, 1)
  assert.is(here.length, 600)
})

test('go on holding polls while Postgres drops every connection, and answer them afterwards', async () => {
  const { cluster, nodes } = await site()
  const polls = nodes.map((node) => node.poll(40))
  for (const one of replicas) await held(one)
  await world.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
  for (let i = 0; ; i++) {
    const queued = await queue(replicas[0], cluster, 'n1').then(
      () => true,
      () => false,
    )
    if (queued || i > 50) break
    await sleep(100)
  }
  const first = await Promise.race(polls.map(async (poll) => (await poll).text()))
  assert.match(first, 'node-delete n1')
  for (const { polls } of replicas) if (polls.held() > 0) polls.close()
  assert.equal((await Promise.all(polls)).map(({ status }) => status).sort(), [200, 204])
})

test('hear each other again after that', async () => {
  let heard = ''
  const listening = world.listen('rollcall_test', (payload) => (heard = payload))
  const say = async () => {
    for (let i = 0; i < 100 && heard === ''; i++) {
      await world.sql`select pg_notify('rollcall_test', ${`hello ${i}`})`.catch(() => {})
      await sleep(100)
    }
    assert.match(heard, 'hello')
    heard = ''
  }
  await say()
  await world.sql`
    select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen rollcall_test' and datname = current_database()`
  await say()
  await listening.stop()
})
