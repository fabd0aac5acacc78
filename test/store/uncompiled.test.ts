import { sql as raw } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { connect } from '../../src/datastore/connect.ts'
import { openDatabase } from '../../src/store/database.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'

// Debian's 15 is built with LLVM, the embedded 18 is not.
const test = suite(`statements are not compiled, PostgreSQL ${majors[0]}`)
let server: Throwaway

test.before(async () => {
  server = await throwawayPostgres(majors[0] ?? 18, { jit: 'on' })
})
test.after(() => server?.stop())

test('by none of our sessions, though their plans have the price of what is forbidden', async () => {
  const database = openDatabase(server.url)
  const beside = connect({ url: server.url, connection: {} }, { max: 1 })
  const plan = await database.sql.unsafe(
    'explain (analyze) select count(*) from devices a, devices b where a.serial < b.serial',
  )
  assert.not.match(JSON.stringify(plan), /JIT/)
  const shown = [
    await database.sql`show jit`,
    [...(await database.db.execute(raw`show jit`))],
    await beside`show jit; `.simple(),
  ]
  assert.equal(
    shown.map((rows) => (rows as { jit: string }[])[0]?.jit),
    ['off', 'off', 'off'],
  )
  await database.close()
  await beside.end()
})
