import * as assert from 'uvu/assert'
import { statements } from '../../src/store/enroll.ts'
import { makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('plans of a claim')
let world: World
test.before(async () => {
  world = await makeWorld()
})
test.after(() => world.end())

const tables = [
  'devices',
  'profiles',
  'identities',
  'clusters',
  'enrollments',
  'redeemed_nonces',
  'tasks',
  'events',
  'shared_parts',
]

// A plan stays when a table grows, until the next analyze: one made while all were empty must do for a million devices as well.
for (const [name, text] of Object.entries(statements)) {
  test(`finds every row by index on tables that are empty when it is planned: ${name}`, async () => {
    for (const table of tables) await world.sql.unsafe(`analyze ${table}`)
    const input = name === 'select' ? [['sn-1'], ['00'], ['nonce']] : ['[]', '[]']
    const rows = await world.sql.unsafe(`explain ${text}`, input as never[])
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    assert.match(plan, 'Index Scan')
    for (const table of tables) assert.not.match(plan, `Seq Scan on ${table}`)
    assert.not.match(plan, /Hash Join|Merge Join/)
  })
}
