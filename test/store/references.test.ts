import * as assert from 'uvu/assert'
import { FakeDevice } from '../fakes/device.ts'
import { addCluster, addDevice, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('references that triggers keep')
let world: World
let profile: string
let cluster: string
let device: string
test.before(async () => {
  world = await makeWorld()
  profile = await addProfile(world)
  cluster = await addCluster(world)
  device = await addDevice(world, new FakeDevice('HERE'), { profile, cluster })
})
test.after(() => world.end())

const stateOf = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    ({ code, constraint_name: constraint }: { code: string; constraint_name?: string }) =>
      [code, constraint].filter(Boolean).join(' '),
  )
/** Devices of one statement, by serial, profile and cluster. */
const insert = (...rows: [serial: string, profile: string, cluster: string | null][]) => {
  const [serials, profiles, clusters] = [0, 1, 2].map((n) => rows.map((row) => row[n] as string))
  return world.sql`insert into devices (id, serial, serial_key, profile_id, cluster_id, state_since, created_at, updated_at)
    select 'dev_' || s, s, lower(s), p, c, now(), now(), now()
    from unnest(${serials as string[]}::text[], ${profiles as string[]}::text[], ${clusters as string[]}::text[]) as r(s, p, c)`
}
const pin = (...devices: string[]) => world.sql`
  insert into identities (device_id, thumbprint, created_at)
  select d, 'thumbprint of ' || d, now() from unnest(${devices}::text[]) d`

test('a device of a profile or a cluster that is not there is refused, and all that came with it', async () => {
  assert.is(await stateOf(insert(['A', profile, cluster], ['B', 'prf_none', cluster])), '23503 devices_profile_id')
  assert.is(await stateOf(insert(['A', profile, null], ['B', profile, 'clu_none'])), '23503 devices_cluster_id')
  assert.is((await world.sql`select from devices where serial in ('A', 'B')`).length, 0)
  assert.is(await stateOf(insert(['A', profile, cluster], ['B', profile, null])), 'done')
})

test('a device cannot come to a profile or a cluster that is not there', async () => {
  const move = (column: 'profile_id' | 'cluster_id', to: string | null) =>
    stateOf(world.sql`update devices set ${world.sql(column)} = ${to} where id = ${device}`)
  assert.is(await move('profile_id', 'prf_none'), '23503 devices_profile_id')
  assert.is(await move('cluster_id', 'clu_none'), '23503 devices_cluster_id')
  assert.is(await move('cluster_id', null), 'done')
  assert.is(await move('cluster_id', cluster), 'done')
})

test('an identity of a device that is not there is refused, and none changes its device', async () => {
  await world.sql`delete from identities where device_id = ${device}`
  assert.is(await stateOf(pin(device, 'dev_none')), '23503 identities_device_id')
  assert.is((await world.sql`select from identities where device_id in (${device}, 'dev_none')`).length, 0)
  assert.is(await stateOf(pin(device)), 'done')
  assert.is(await stateOf(world.sql`update identities set device_id = 'dev_A' where device_id = ${device}`), '23503')
})

test('devices, profiles and clusters stay, with their ids', async () => {
  for (const [table, id] of [
    ['devices', device],
    ['profiles', profile],
    ['clusters', cluster],
  ] as const) {
    const row = world.sql`${world.sql(table)} where id = ${id}`
    assert.is(await stateOf(world.sql`delete from ${row}`), '23503', table)
    assert.is(await stateOf(world.sql`update ${world.sql(table)} set id = 'other' where id = ${id}`), '23503', table)
    assert.is((await world.sql`select from ${row}`).length, 1)
  }
})
