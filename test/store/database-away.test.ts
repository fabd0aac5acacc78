import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { connect as connectPool } from '../../src/datastore/connect.ts'
import { openDatabase } from '../../src/store/database.ts'
import { testDatabase } from '../postgres.ts'
import { suite } from '../suite.ts'

const test = suite('a database that was away')
const closers: (() => unknown)[] = []
test.after(async () => {
  for (const close of closers.reverse()) await close()
})

/** Stands before the real PostgreSQL, and ends every connection while that is to be away. */
async function relay(url: string) {
  const { hostname, port } = new URL(url)
  const open = new Set<Socket>()
  let away = false
  const server = createServer((socket) => {
    socket.on('error', () => {})
    if (away) return void socket.resetAndDestroy()
    const behind = connect(Number(port), hostname).on('error', () => {})
    socket.pipe(behind).pipe(socket)
    socket.on('close', () => behind.destroy())
    for (const one of [socket, behind]) open.add(one)
  }).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  const through = new URL(url)
  through.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  closers.push(
    () => server.close(),
    () => cut(),
  )
  return {
    url: through.href,
    leave: () => {
      away = true
      cut()
    },
    comeBack: () => {
      away = false
    },
  }
}

const pools: Record<string, (url: string) => { sql: Sql; close: () => Promise<void> }> = {
  "the roll's": (url) => openDatabase(url, { pool: 8 }),
  "the clusters'": (url) => {
    const sql = connectPool({ url, connection: {} }, { max: 8 })
    return { sql, close: () => sql.end({ timeout: 1 }) }
  },
}

for (const [whose, open] of Object.entries(pools))
  test(`is asked again at once by ${whose} pool when it is back, however many connections failed meanwhile`, () =>
    comesBack(open))

async function comesBack(open: (typeof pools)[string]): Promise<void> {
  const real = await testDatabase()
  closers.push(real.close)
  const { url, leave, comeBack } = await relay(real.url)
  const database = open(url)
  closers.push(() => database.close())
  const ask = () => Promise.allSettled(Array.from({ length: 8 }, () => database.sql`select 1`))
  const answers = (all: PromiseSettledResult<unknown>[]) => all.filter(({ status }) => status === 'fulfilled').length
  assert.is(answers(await ask()), 8)
  leave()
  for (let i = 0; i < 3; i++) assert.is(answers(await ask()), 0)
  comeBack()
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<string>((done) => {
    timer = setTimeout(done, 5_000, 'nothing for five seconds')
  })
  assert.is(await Promise.race([ask().then(answers), patience]), 8)
  clearTimeout(timer)
}
