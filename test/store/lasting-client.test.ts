import type { AddressInfo } from 'node:net'
import { createServer, type Socket } from 'node:net'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { lastingClient } from '../../src/store/lasting-client.ts'
import { testDatabase } from '../postgres.ts'
import { suite } from '../suite.ts'

const test = suite('a client whose connections never come back')
let real: string
let deaf: string
const closers: (() => unknown)[] = []

test.before(async () => {
  const database = await testDatabase()
  real = database.url
  const held: Socket[] = []
  const server = createServer((socket) => held.push(socket)).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  deaf = `postgres://x@127.0.0.1:${(server.address() as AddressInfo).port}/x`
  closers.push(
    database.close,
    () => server.close(),
    () => held.map((socket) => socket.destroy()),
  )
})
test.after(async () => {
  for (const close of closers) await close()
})

const ways: Record<string, (sql: postgres.Sql) => Promise<unknown>> = {
  statement: (sql) => sql`select 1`,
  unsafe: (sql) => sql.unsafe('select 1').values(),
  transaction: (sql) => sql.begin((tx) => tx`select 1`),
}

for (const [way, ask] of Object.entries(ways)) {
  test(`is replaced after one ${way} in vain`, async () => {
    const made: postgres.Sql[] = []
    const client = lastingClient(() => {
      const next = postgres(made.length === 0 ? deaf : real, { connect_timeout: 0.2, max: 1, onnotice: () => {} })
      made.push(next)
      return next
    }, 0)
    const failed = await ask(client).catch((error: { code: string }) => error.code)
    assert.is(failed, 'CONNECT_TIMEOUT')
    await ask(client)
    await ask(client)
    assert.is(made.length, 2)
    await client.end()
  })
}

test('is kept when a statement fails for its own reasons', async () => {
  let made = 0
  const client = lastingClient(() => {
    made++
    return postgres(real, { max: 1, onnotice: () => {} })
  })
  await client`select 1/0`.catch(() => {})
  await client.begin((tx) => tx`select 1/0`).catch(() => {})
  assert.is(made, 1)
  await client.end()
})
