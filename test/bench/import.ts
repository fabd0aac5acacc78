import { type ChildProcess, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

// Imports a file through the HTTP API of a server process of its own, and says how long it took and what memory it needed.
// node --import tsx test/bench/import.ts [lines]
const lines = Number(process.argv[2] ?? 100_000)
const target = { seconds: 10, megabytes: 200 }

type Server = { child: ChildProcess; url: string; token: string }

async function startServer(): Promise<Server> {
  const file = fileURLToPath(new URL('../fakes/admin-server.ts', import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')) as [string]
  return { child, ...(JSON.parse(line) as { url: string; token: string }) }
}

/** Megabytes: now, and the most it ever was. */
function memory(server: Server): { rss: number; peak: number } {
  const status = readFileSync(`/proc/${server.child.pid}/status`, 'utf8')
  const kilobytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)
  return { rss: Math.round(kilobytes('VmRSS') / 1024), peak: Math.round(kilobytes('VmHWM') / 1024) }
}

function* file(): Generator<Buffer> {
  let text = 'serial,profile,cluster,identity.thumbprint,labels.site,vars.ntp,macs,note\n'
  for (let i = 0; i < lines; i++) {
    const thumbprint = createHash('sha256').update(`key ${i}`).digest('base64url')
    const mac = `02:00:00:${[16, 8, 0].map((shift) => ((i >> shift) & 255).toString(16).padStart(2, '0')).join(':')}`
    text += `SN-${String(i).padStart(7, '0')},edge-agent,site-a,${thumbprint},"north, ${i % 50}",10.0.0.1,${mac},\n`
    if (text.length < 65_536) continue
    yield Buffer.from(text)
    text = ''
  }
  yield Buffer.from(text)
}

async function send(server: Server, query = ''): Promise<void> {
  const start = performance.now()
  const answer = await fetch(`${server.url}/api/v1/devices/import${query}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'text/csv' },
    body: ReadableStream.from(file()),
    duplex: 'half',
  } as RequestInit)
  const body = (await answer.text()).slice(0, 200)
  const seconds = (performance.now() - start) / 1000
  const { rss, peak } = memory(server)
  const verdict = seconds < target.seconds && peak < target.megabytes ? 'within target' : 'OVER TARGET'
  console.log(
    `${query || 'import'}: ${seconds.toFixed(1)} s, RSS ${rss} MB, peak ${peak} MB, ${answer.status} ${body} (${verdict})`,
  )
}

const server = await startServer()
try {
  console.log(`${lines} lines; the server begins with ${memory(server).rss} MB`)
  await send(server, '?dry_run=true')
  await send(server)
  await send(server)
} finally {
  server.child.stdin?.end()
  await once(server.child, 'exit')
}
