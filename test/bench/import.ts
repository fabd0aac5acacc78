// What an import costs: `npm run build`, then `node --import tsx test/bench/import.ts [lines]`. A file goes through the HTTPS API of
// the real, compiled server on its embedded PostgreSQL: as a dry run, for good, and once more with nothing new in it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { json } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { cpuOf, cpuOfFamily, memoryOf } from './process-cost.ts'

const lines = Number(process.argv[2] ?? 100_000)
const target = { seconds: 10, megabytes: 200 }
const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

type Server = { child: ChildProcess; url: string; token: string; postgres: number }

async function startServer(directory: string): Promise<Server> {
  const options = ['--data-dir', directory]
  const ports = ['--host', '127.0.0.1', '--https-port', '0', '--http-port', '0']
  const env = { ...process.env, NODE_ENV: 'production', ROLLCALL_LOG_LEVEL: 'error' }
  const child = spawn(process.execPath, [main, 'serve', ...options, ...ports], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface({ input: child.stdout as Readable }), 'line')) as [string]
  const create = ['token', 'create', '--name', 'bench', '--scope', 'admin', ...options]
  const token = execFileSync(process.execPath, [main, ...create], { env, encoding: 'utf8' }).trim()
  const postgres = Number.parseInt(readFileSync(join(directory, 'postgres', 'data', 'postmaster.pid'), 'utf8'), 10)
  return { child, token, postgres, url: /https=(\S+)/.exec(line)?.[1] ?? '' }
}

async function post(
  server: Server,
  path: string,
  type: string,
  body: Readable,
): Promise<{ status: number; body: unknown }> {
  const headers = { authorization: `Bearer ${server.token}`, 'content-type': type }
  const call = request(`${server.url}/api/v1${path}`, { method: 'POST', headers, rejectUnauthorized: false })
  const answered = once(call, 'response')
  await pipeline(body, call)
  const [answer] = (await answered) as [Readable & { statusCode: number }]
  return { status: answer.statusCode, body: await json(answer) }
}

function* file(): Generator<string> {
  let text = 'serial,profile,cluster,identity.thumbprint,labels.site,vars.ntp,macs,note\n'
  for (let i = 0; i < lines; i++) {
    const thumbprint = createHash('sha256').update(`key ${i}`).digest('base64url')
    const mac = `02:00:00:${[16, 8, 0].map((shift) => ((i >> shift) & 255).toString(16).padStart(2, '0')).join(':')}`
    text += `SN-${String(i).padStart(7, '0')},edge,site-a,${thumbprint},"north, ${i % 50}",10.0.0.1,${mac},\n`
    if (text.length < 65_536) continue
    yield text
    text = ''
  }
  yield text
}

async function measure(server: Server, name: string, query = ''): Promise<void> {
  const pid = server.child.pid as number
  const before = { time: performance.now(), node: cpuOf(pid), postgres: cpuOfFamily(server.postgres) }
  const { status, body } = await post(server, `/devices/import${query}`, 'text/csv', Readable.from(file()))
  const took = (performance.now() - before.time) / 1000
  const cpu = (after: number, from: number) => ((after - from) / 1e6).toFixed(1)
  const costs = `CPU ${cpu(cpuOf(pid), before.node)} s node, ${cpu(cpuOfFamily(server.postgres), before.postgres)} s Postgres`
  const { now, peak } = memoryOf(pid)
  const verdict = took < target.seconds && peak < target.megabytes ? 'within target' : 'OVER TARGET'
  console.log(`${name}: ${took.toFixed(1)} s (${costs}), RSS ${now} MB, peak ${peak} MB: ${verdict}`)
  console.log(`  ${status} ${JSON.stringify(body).slice(0, 160)}`)
}

const directory = mkdtempSync(join(tmpdir(), 'rollcall-bench-'))
const server = await startServer(directory)
const declare = (path: string, body: unknown) =>
  post(server, path, 'application/json', Readable.from([JSON.stringify(body)]))
try {
  console.log(
    `${lines} lines; load ${loadavg()[0]?.toFixed(1)}; the server begins with ${memoryOf(server.child.pid as number).now} MB`,
  )
  const cluster = { name: 'site-a', version: 'v1.36.3+k3s1', allow_unpinned: true, datastore: { kind: 'sqlite' } }
  await declare('/clusters', { ...cluster, api_endpoint: 'https://site-a.example:6443' })
  await declare('/profiles', {
    name: 'edge',
    document: 'cloud-init',
    role: 'agent',
    template: 'builtin:debian',
    vars: {},
  })
  await measure(server, 'dry run', '?dry_run=true')
  await measure(server, 'import')
  await measure(server, 'again')
} finally {
  server.child.kill('SIGTERM')
  await once(server.child, 'exit')
  rmSync(directory, { recursive: true, force: true })
}
