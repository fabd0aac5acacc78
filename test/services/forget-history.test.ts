import * as assert from 'uvu/assert'
import { forgetHistory } from '../../src/services/forget-history.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addDevice, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('forgetting history', { timeout: 120_000 })
let world: World
test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

test('goes on where it was, and rests for an hour when a walk found nothing', async () => {
  const profile = await addProfile(world)
  const since = new Date((world.now() - 500 * 86_400) * 1000)
  const retired = { state: 'retired', stateSince: since }
  const ids: string[] = []
  for (let n = 0; n < 150; n++) ids.push(await addDevice(world, new FakeDevice(`M-${n}`), { profile }, retired))
  const tell = (device: string) =>
    world.sql`insert into events (device_id, at, source, name) values (${device}, ${since}, 'server', 'x')`
  for (const id of ids) await tell(id)

  const pass = forgetHistory(world, { events: 400, audit: 0 })
  assert.equal([await pass(), await pass(), await pass(), await pass()], [100, 50, 0, 0])
  await tell(ids.sort()[0] as string)
  world.clock.now += 3_599
  assert.is(await pass(), 0)
  world.clock.now += 1
  assert.is(await pass(), 1)
})
