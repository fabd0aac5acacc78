import * as assert from 'uvu/assert'
import { forget, forgetAudit, forgetEvents } from '../../src/store/forget.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addCluster, addDevice, addEnrollment, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('history that is over', { timeout: 120_000 })
let world: World
test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

const daysAgo = (days: number) => new Date((world.now() - days * 86_400) * 1000)
const keep = { events: 400, audit: 0 }
const names = async () => (await world.sql`select name from events order by id`).map(({ name }) => name)
const tell = (device: string, name: string, days: number, enrollment: string | null = null) =>
  world.sql`insert into events (device_id, enrollment_id, at, source, name)
    values (${device}, ${enrollment}, ${daysAgo(days)}, 'server', ${name})`

test('is kept of devices that live and of what ended lately, and deleted of what ended long ago', async () => {
  const [profile, cluster] = [await addProfile(world), await addCluster(world)]
  const where = { profile, cluster }
  const live = await addDevice(world, new FakeDevice('LIVE'), where, { state: 'ready', stateSince: daysAgo(900) })
  const enrollment = { deviceId: live, clusterId: cluster, profileId: profile, role: 'agent', hostname: 'live' }
  const ended = (days: number) =>
    addEnrollment(world, { ...enrollment, createdAt: daysAgo(1_000), endedAt: daysAgo(days) })
  const [long, lately, now] = [await ended(401), await ended(399), await addEnrollment(world, enrollment)]
  await tell(live, 'kept: registered', 1_000)
  await tell(live, 'of an enrollment that ended long ago', 1_000, long)
  await tell(live, 'kept: a report that came late', 399, long)
  await tell(live, 'kept: of an enrollment that ended lately', 1_000, lately)
  await tell(live, 'kept: of the live enrollment', 1_000, now)
  const retired = { state: 'retired', stateSince: daysAgo(401) }
  const gone = await addDevice(world, new FakeDevice('GONE'), where, retired)
  await tell(gone, 'of a device that was retired long ago', 1_000)
  await tell(gone, 'kept: what it tried since', 3)
  const revoked = { state: 'revoked', stateSince: daysAgo(399) }
  await tell(await addDevice(world, new FakeDevice('LATELY'), where, revoked), 'kept: revoked lately', 1_000)

  assert.equal(await forget(world.sql, world.now(), { events: 0, audit: 0 }, ''), { rows: 0, after: '' })
  assert.equal(await forget(world.sql, world.now(), keep, ''), { rows: 2, after: '' })
  const left = await names()
  assert.is(left.length, 6)
  for (const name of left) assert.match(name, /^kept/)
})

test('is looked at some devices at a time, all of them in turn, and begins anew', async () => {
  await world.sql`delete from events`
  const profile = await addProfile(world, { name: 'many' })
  const retired = { state: 'retired', stateSince: daysAgo(500) }
  for (let n = 0; n < 230; n++)
    await tell(await addDevice(world, new FakeDevice(`M-${n}`), { profile }, retired), 'x', 500)
  const rows: number[] = []
  let after = ''
  do {
    const pass = await forget(world.sql, world.now(), keep, after)
    rows.push(pass.rows)
    after = pass.after
  } while (after !== '')
  assert.is(rows.length, 3)
  assert.is(
    rows.reduce((a, b) => a + b),
    230,
  )
  assert.equal(await names(), [])
})

test('is not passed by before all of a device is deleted', async () => {
  const profile = await addProfile(world, { name: 'talker' })
  const retired = { state: 'retired', stateSince: daysAgo(500) }
  const device = await addDevice(world, new FakeDevice('TALKS'), { profile }, retired)
  await world.sql`insert into events (device_id, at, source, name)
    select ${device}, ${daysAgo(500)}, 'node', 'x' from generate_series(1, 5001)`
  const before = (await world.sql`select coalesce(max(id), '') as id from devices where id < ${device}`)[0]?.id
  assert.equal(await forget(world.sql, world.now(), keep, before), { rows: 5_000, after: before })
  const rest = await forget(world.sql, world.now(), keep, before)
  assert.is(rest.rows, 1)
  assert.is.not(rest.after, before)
})

test('of admins is kept for ever, or for as long as they say', async () => {
  await world.sql`insert into audit (at, actor, action, target)
    select ${daysAgo(800)}::timestamptz + n * interval '1 day', 'cli', 'x', 'y' from generate_series(1, 800) n`
  assert.is((await forget(world.sql, world.now(), keep, '')).rows, 0)
  assert.is((await forget(world.sql, world.now(), { events: 0, audit: 30 }, '')).rows, 769)
  const [left] = await world.sql`select count(*)::int as n, min(at) as oldest from audit`
  assert.is(left?.n, 31)
  assert.ok(left?.oldest >= daysAgo(30))
})

test('is left to the replica that is at it', async () => {
  await world.sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(7104224)`
    assert.equal(await forget(world.sql, world.now() + 1e9, { events: 1, audit: 1 }, 'x'), { rows: 0, after: 'x' })
  })
})

test('is found by keys, however much of it there is', async () => {
  const profile = await addProfile(world, { name: 'big' })
  await world.sql`insert into devices (id, serial, serial_key, profile_id, state_since, created_at, updated_at)
    select 'dev_big' || n, 'BIG-' || n, 'big-' || n, ${profile}, now(), now(), now() from generate_series(1, 5000) n`
  await world.sql`insert into events (device_id, at, source, name)
    select 'dev_big' || n, now(), 'server', 'x' from generate_series(1, 5000) n, generate_series(1, 20)`
  await world.sql`insert into audit (at, actor, action, target) select now(), 'cli', 'x', 'y' from generate_series(1, 50000)`
  await world.sql`analyze`
  const plan = async (statement: string, parameters: unknown[]) =>
    (await world.sql.unsafe(`explain ${statement}`, parameters as never[])).map((row) => row['QUERY PLAN']).join('\n')
  assert.not.match(await plan(forgetEvents, ['', world.now()]), /Seq Scan on (?:events|devices|enrollments)/)
  assert.not.match(await plan(forgetAudit, [world.now()]), /Seq Scan on audit/)
})
