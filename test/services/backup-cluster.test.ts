import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gunzipSync, gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import postgres, { type Sql } from 'postgres'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { loginPassword, loginRole } from '../../src/k3s/datastore-names.ts'
import { backupCluster } from '../../src/services/backup-cluster.ts'
import { restoreCluster } from '../../src/services/restore-cluster.ts'
import { noteLogin } from '../../src/store/gate-logins.ts'
import { kineTable, namesIn } from '../datastore/node.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addEnrollment } from '../fakes/enrollment.ts'
import { addCluster, addDevice, addProfile, makeManagedWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('backups of clusters', { timeout: 60_000 })
const actor = { name: 'cli' }
let world: World & { managed: ManagedDatastore }
let profile: string
let n = 0

test.before(async () => {
  world = await makeManagedWorld()
  profile = await addProfile(world)
})
test.after(() => world?.end())

type Server = {
  id: string
  name: string
  enrollmentId: string
  node: (use: (sql: Sql) => Promise<unknown>) => Promise<string | undefined>
}

/** A managed cluster with one server, whose K3s has run. */
async function cluster(rows = 3, change: { token?: string } = {}): Promise<Server> {
  const name = `site-${++n}`
  const id = await addCluster(world, { name, datastore: { kind: 'managed' } })
  if (change.token) {
    const serverTokenSealed = world.vault.seal(`clusters/${id}/server_token`, change.token)
    await world.sql`update clusters set server_token_sealed = ${serverTokenSealed} where id = ${id}`
  }
  await world.managed.declare(id)
  const device = new FakeDevice(`SN-${n}`)
  const deviceId = await addDevice(world, device, { profile, cluster: id })
  const enrollmentId = await addEnrollment(world, device.serial, { role: 'server', redeemed: true })
  await noteLogin(world.sql, { clusterId: id, deviceId, enrollmentId } as never, world.now())
  const password = loginPassword(world.keys.nodePassword, enrollmentId)
  await world.managed.makeLogin(id, enrollmentId, password)
  const node: Server['node'] = async (use) => {
    const url = world.url.replace(/\/\/[^@]*@/, `//${loginRole(enrollmentId)}:${password}@`)
    const sql = postgres(url, { max: 1, database: 'rollcall_k3s', fetch_types: false })
    try {
      await use(sql)
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    } finally {
      await sql.end({ timeout: 1 })
    }
  }
  if (rows > 0) {
    await node(async (sql) => {
      await sql.unsafe(kineTable)
      await sql.unsafe(
        `insert into kine (name, value) select '/registry/' || i, repeat('x', 5000)::bytea from generate_series(1, ${rows}) i`,
      )
    })
  }
  return { id, name, enrollmentId, node }
}

/** One that was declared and has no server. */
async function empty(change: Parameters<typeof addCluster>[1] = {}) {
  const name = `site-${++n}`
  const id = await addCluster(world, { name, datastore: { kind: 'managed' }, caHash: null, state: 'virgin', ...change })
  await world.managed.declare(id)
  return { id, name }
}

async function backup(name: string): Promise<Buffer> {
  const sink = new PassThrough()
  const file = buffer(sink)
  file.catch(() => {})
  await backupCluster(world, actor, name, sink)
  return file
}

const restore = (name: string, file: Buffer, replace = false) =>
  restoreCluster(world, actor, { name, replace }, Readable.from([file]))

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'it worked'
  } catch (error) {
    const { code, detail = '' } = error as { code?: string; detail?: string }
    return detail || String(code ?? error)
  }
}

const row = async (id: string) => {
  const [found] = await world.sql`select state, ca_hash, server_token_sealed as token from clusters where id = ${id}`
  const token = world.vault.open(`clusters/${id}/server_token`, found?.token).toString()
  return { state: found?.state, ca_hash: found?.ca_hash, token }
}

test('a cluster that is not there, not managed, or has no rows is refused', async () => {
  assert.is(await refusal(backup('nowhere')), 'not_found')
  await addCluster(world, { name: 'small' })
  assert.is(await refusal(backup('small')), 'its datastore is of kind sqlite: back it up where it is')
  assert.match(await refusal(backup((await empty()).name)), /no server of it has started yet/)
})

test('what is no whole backup is refused, and nothing of it is kept', async () => {
  const file = await backup((await cluster()).name)
  const plain = gunzipSync(file)
  const target = await empty()
  const other = (text: string) => gzipSync(Buffer.from(text))
  assert.is(await refusal(restore(target.name, other(''))), 'this is no backup of a cluster')
  assert.is(
    await refusal(restore(target.name, other('{"rollcall":"cluster backup","format":2}\n'))),
    'this is no backup of a cluster, or one of a later release',
  )
  assert.is(await refusal(restore(target.name, Buffer.from('not gzipped'))), 'Z_DATA_ERROR')
  const size = fc.integer({ min: plain.indexOf('\n') + 1, max: plain.length - 2 })
  await fc.assert(
    fc.asyncProperty(size, async (at) => {
      assert.is.not(await refusal(restore(target.name, gzipSync(plain.subarray(0, at)))), 'it worked')
    }),
    { numRuns: 30 },
  )
  await fc.assert(
    fc.asyncProperty(size, fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const damaged = Buffer.from(plain)
      damaged[at] = (damaged[at] as number) ^ flip
      assert.is.not(await refusal(restore(target.name, gzipSync(damaged))), 'it worked')
    }),
    { numRuns: 30 },
  )
  assert.is(await namesIn(world.managed, target.id), 'absent')
})

test('a cluster whose enrolled servers hold another server token is refused', async () => {
  const source = await cluster(3, { token: 'ab'.repeat(32) })
  const target = await cluster(0)
  assert.match(await refusal(restore(target.name, await backup(source.name))), /another server token than the servers/)
})

test('a backup fills another cluster, which then has its server token and is learnt anew', async () => {
  const token = 'cd'.repeat(32)
  const source = await cluster(200, { token })
  const file = await backup(source.name)
  const target = await empty()
  const header = await restore(target.name, file)
  assert.equal([header.cluster, header.version], [source.name, 'v1.36.3+k3s1'])
  assert.equal(await namesIn(world.managed, target.id), await namesIn(world.managed, source.id))
  assert.equal(await row(target.id), { state: 'virgin', ca_hash: null, token })
  assert.match(await refusal(restore(target.name, file)), /is not empty: say replace/)
})

test('a cluster gets its own rows back, and its servers their logins', async () => {
  const one = await cluster(5)
  const file = await backup(one.name)
  const before = await row(one.id)
  await one.node((sql) => sql`delete from kine`)
  await restore(one.name, file, true)
  assert.is((await namesIn(world.managed, one.id)).length, 5)
  assert.equal(await row(one.id), before)
  assert.is(await one.node((sql) => sql`insert into kine (name) values ('/registry/after')`), undefined)
  assert.is((await namesIn(world.managed, one.id)).length, 6)
})

test('a restore that fails gives the logins back, and leaves what was there', async () => {
  const one = await cluster(5)
  const file = gunzipSync(await backup(one.name))
  await refusal(restore(one.name, gzipSync(file.subarray(0, file.length - 5)), true))
  assert.is((await namesIn(world.managed, one.id)).length, 5)
  assert.is(await one.node((sql) => sql`insert into kine (name) values ('/registry/after')`), undefined)
})

test('both stand in the audit, and say nothing that is secret', async () => {
  const source = await cluster(1, { token: 'ef'.repeat(32) })
  await restore((await empty()).name, await backup(source.name))
  const trail = await world.sql`select action, detail::text as detail from audit where action like 'cluster.%'`
  const actions = new Set(trail.map(({ action }) => action))
  assert.is(actions.has('cluster.backup') && actions.has('cluster.restore'), true)
  assert.is(
    trail.some(({ detail }) => detail?.includes('ef'.repeat(32))),
    false,
  )
})
