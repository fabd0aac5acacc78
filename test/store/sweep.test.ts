import { sql } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { redeemedNonces } from '../../src/store/schema.ts'
import { sweep } from '../../src/store/sweep.ts'
import { makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('sweep')
let world: World
test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

test('deletes a nonce only when no clock could still accept it', async () => {
  const used = (nonce: string, age: number) => ({
    nonce,
    usedIn: new Uint8Array(32),
    redeemedAt: new Date((world.now() - age) * 1000),
  })
  await world.db.insert(redeemedNonces).values([used('old', 901), used('retry', 450), used('new', 0)])
  assert.is(await sweep(world.sql, world.now()), 1)
  const left = await world.db.execute(sql`select nonce from redeemed_nonces order by nonce`)
  assert.equal(
    left.map((r) => r.nonce),
    ['new', 'retry'],
  )
})

test('leaves the work to the replica that is at it', async () => {
  await world.sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(7104223)`
    assert.is(await sweep(world.sql, world.now() + 10_000), 0)
  })
  assert.is(await sweep(world.sql, world.now() + 10_000), 2)
})
