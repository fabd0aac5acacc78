import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { type NewEnrollment, writeEnrollments } from '../../src/store/enroll.ts'
import { makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('parts that documents share')
let world: World
test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

/** Of a device that is not there: nothing but its part is written. */
const claimWith = (part: string) =>
  ({ document_shared: { hash: part.repeat(32), packed: '' }, ends: null, resets_cluster: false }) as NewEnrollment

const waiting = async () => {
  const [row] = await world.sql`
    select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
  return row?.n as number
}

// After an update all are new, and servers and agents claim together.
test('are first written in one order, or two runs would wait for each other', async () => {
  let run: Promise<boolean[]> | undefined
  await world.sql.begin(async (tx) => {
    const insert = (part: string) =>
      tx`insert into shared_parts (hash, packed) values (decode(${part.repeat(32)}, 'hex'), '')`
    await insert('aa')
    run = writeEnrollments(world.sql, [claimWith('bb'), claimWith('aa')])
    for (let i = 0; i < 400 && (await waiting()) === 0; i++) await sleep(5)
    assert.is(await waiting(), 1)
    await tx`set local lock_timeout = '500ms'`
    await insert('bb')
  })
  assert.equal(await run, [false, false])
  const rows = await world.sql`select encode(hash, 'hex') as hash from shared_parts order by hash`
  assert.equal(
    rows.map((row) => row.hash),
    ['aa'.repeat(32), 'bb'.repeat(32)],
  )
})
