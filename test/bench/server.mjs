// The server as `serve` runs it, compiled, on a database that the benchmark made; and hono's hello beside it.
// What it needs comes as one JSON line on standard input, since it holds a password.
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import { keepHeapSmall } from '../../dist/cli/heap.js'

// Before the modules are loaded, as `serve` does.
keepHeapSmall()
const { Hono } = await import('hono')
const { createApp } = await import('../../dist/app.js')
const { createLog } = await import('../../dist/log.js')
const { pooledRandom } = await import('../../dist/random.js')
const { listenHttp, listenHttps } = await import('../../dist/server.js')
const { openDatabase } = await import('../../dist/store/database.js')
const { openVault, sealingKey } = await import('../../dist/store/seal.js')
const { makeSelfSigned } = await import('../../dist/tls/certificates.js')
const { connection, sealing, settings } = await new Promise((done) => {
  createInterface({ input: process.stdin }).once('line', (line) => done(JSON.parse(line)))
})

const now = () => Math.floor(Date.now() / 1000)
const app = createApp({
  ...openDatabase('postgres://localhost', { connection }),
  vault: openVault([sealingKey(Buffer.from(sealing, 'base64'))]),
  keys: { nonce: randomBytes(32), nodePassword: randomBytes(32) },
  settings,
  log: createLog('info'),
  now,
  random: pooledRandom(),
})
const hello = new Hono().get('/hello', (c) => c.text('hello'))

const [plain, tls, bare] = await Promise.all([
  listenHttp('127.0.0.1', 0),
  makeSelfSigned(['localhost'], now()).then((pair) => listenHttps('127.0.0.1', 0, pair)),
  listenHttp('127.0.0.1', 0),
])
plain.serve(app)
tls.serve(app)
bare.serve(hello)
console.log(JSON.stringify({ plain: plain.port, tls: tls.port, hello: bare.port }))
process.stdin.on('end', () => process.exit(0))
