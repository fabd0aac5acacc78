// The observer as `serve` runs it, compiled, on a database that the benchmark made. What it needs comes as one JSON line on standard input, since it holds a
// password; it starts with the second line, stops with the third, and its process ends with standard input.
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { keepHeapSmall } from '../../dist/cli/heap.js'

// Before the modules are loaded, as `serve` does.
keepHeapSmall()
const { openManaged } = await import('../../dist/datastore/open.js')
const { createLog } = await import('../../dist/log.js')
const { startObserver } = await import('../../dist/services/observer.js')
const { openDatabase } = await import('../../dist/store/database.js')
const { openVault, sealingKey } = await import('../../dist/store/seal.js')
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const { connection, sealing, key } = JSON.parse((await lines.next()).value)
const server = { url: 'postgres://localhost/observed', connection }
const database = openDatabase('postgres://localhost', { connection })
const managed = openManaged({
  server,
  address: 'localhost',
  ca: '',
  rollConnections: 0,
  key: Buffer.from(key, 'base64'),
})
await managed.ready()
await database.sql`select 1`
console.log('ready')
await lines.next()
const observer = startObserver({
  ...database,
  managed,
  vault: openVault([sealingKey(Buffer.from(sealing, 'base64'))]),
  log: createLog('error'),
  now: () => Math.floor(Date.now() / 1000),
  random: randomBytes,
})
await lines.next()
await observer.stop()
await lines.next()
process.exit(0)
