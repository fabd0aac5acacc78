import * as assert from 'uvu/assert'
import { queueTask, secretPlace, type Task } from '../../src/services/queue-task.ts'
import { addCluster, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('queue a task')

let world: World
let count = 0

test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

const newCluster = () => addCluster(world, { name: `queue-${++count}` })
const queue = (...tasks: Task[]) => world.db.transaction((tx) => queueTask(world, tx, ...tasks))

type Row = {
  id: string
  verb: string
  subject: string
  until: number | null
  result: string | null
  secret: Uint8Array
}
const rows = (clusterId: string) => world.sql<Row[]>`
  select id, verb, subject, extract(epoch from expires_at)::int as until, result, secret_sealed as secret
  from tasks where cluster_id = ${clusterId} order by created_at, done_at nulls last, verb`
const brief = async (clusterId: string) =>
  (await rows(clusterId)).map(({ verb, subject, until, result }) => [verb, subject, until, result].join(' ').trim())

test('never publishes a token whose deletion waits', async () => {
  const clusterId = await newCluster()
  await queue({ clusterId, verb: 'token-delete', subject: 'abcdef' })
  await queue({ clusterId, verb: 'token-create', subject: 'abcdef', secret: 's', expiresAt: 9 })
  assert.equal(await brief(clusterId), ['token-delete abcdef'])
})

test('keeps one of a kind, and gives a waiting publication its later time', async () => {
  const clusterId = await newCluster()
  await queue({ clusterId, verb: 'node-delete', subject: 'n1' }, { clusterId, verb: 'node-ban', subject: 'n1' })
  await queue({ clusterId, verb: 'node-delete', subject: 'n1' })
  await queue({ clusterId, verb: 'token-create', subject: 'abcdef', secret: 'hush', expiresAt: 100 })
  await queue({ clusterId, verb: 'token-create', subject: 'abcdef', secret: 'hush', expiresAt: 200 })
  assert.equal(await brief(clusterId), ['node-ban n1', 'node-delete n1', 'token-create abcdef 200'])
  const { id, secret } = (await rows(clusterId))[2] as Row
  assert.is(world.vault.open(secretPlace(id), secret).toString(), 'hush')
})

test('makes a new task of a publication that a server may have begun with another time', async () => {
  const clusterId = await newCluster()
  const create = { clusterId, verb: 'token-create', subject: 'abcdef', secret: 'hush' } as const
  await queue({ ...create, expiresAt: 100 })
  await world.sql`update tasks set sent_at = now() where cluster_id = ${clusterId}`
  await queue({ ...create, expiresAt: 100 })
  assert.equal(await brief(clusterId), ['token-create abcdef 100'])
  await queue({ ...create, expiresAt: 200 })
  assert.equal(await brief(clusterId), ['token-create abcdef 100 superseded', 'token-create abcdef 200'])
})

test('lets a deletion take the place of the publication, and wipes its secret', async () => {
  const clusterId = await newCluster()
  await queue({ clusterId, verb: 'token-create', subject: 'abcdef', secret: 'hush', expiresAt: 100 })
  await queue({ clusterId, verb: 'token-delete', subject: 'abcdef' })
  assert.equal(await brief(clusterId), ['token-create abcdef 100 superseded', 'token-delete abcdef'])
  assert.is((await rows(clusterId))[0]?.secret, null)
})
