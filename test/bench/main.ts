// `npm run bench [-- challenge enrolments refusals sizes observer polls fleet]`: what an enrolment costs, over HTTP with real signatures on a real PostgreSQL.
// ROLLCALL_BENCH=quick: a tenth of it, to see that it runs; its figures mean nothing.
import { randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import type { Settings } from '../../src/services/context.ts'
import { openVault, sealingKey } from '../../src/store/seal.ts'
import { challenges } from './challenge.ts'
import { fleet } from './fleet.ts'
import type { Target } from './line.ts'
import type { Pinned, Timing } from './load.ts'
import { type Measured, measure, median, spread, table } from './measure.ts'
import { observing } from './observer.ts'
import { findPgbench, pgbench } from './pgbench.ts'
import { polls } from './polls.ts'
import { memoryOf } from './process-cost.ts'
import {
  type Connection,
  type Load,
  type Postgres,
  type Server,
  startLoad,
  startPostgres,
  startServer,
} from './programs.ts'
import { refusals } from './refusals.ts'
import { asking, forgetEnrollments, makeRoll, type Roll } from './roll.ts'

const scale = process.env.ROLLCALL_BENCH === 'quick' ? 0.1 : 1
const size = {
  rounds: scale < 1 ? 2 : 5,
  claims: 6_000 * scale,
  tlsClaims: 2_000 * scale,
  challenges: 30_000 * scale,
  inFlight: 64,
  large: 1_000_000 * scale,
  polls: 10_000 * scale,
}
const audience = 'https://rollcall.bench'
const settings: Settings = {
  publicUrl: audience,
  publicUrlGuessed: false,
  audiences: [audience],
  pins: `sha256//${'A'.repeat(43)}=;sha256//${'B'.repeat(43)}=`,
  ca: `-----BEGIN CERTIFICATE-----\n${'A'.repeat(64)}\n-----END CERTIFICATE-----\n`,
  k3s: { installScriptUrl: 'https://get.k3s.example', artifactUrl: 'https://artifacts.example' },
}
const sealing = randomBytes(32)
const vault = openVault([sealingKey(sealing)])

type Bench = { postgres: Postgres; load: Load; pinned: Pinned[] }
type Standing = { connection: Connection; server: Server }

async function stand(bench: Bench, roll: Roll): Promise<Standing> {
  const connection = await makeRoll(bench.postgres.connection, roll, bench.pinned, vault)
  return { connection, server: await startServer(connection, sealing, settings) }
}

type Way = 'plain' | 'tls' | 'tls, new connection'

async function claims({ postgres, load }: Bench, at: Standing, way: Way, count: number, passes = 1): Promise<Measured> {
  const { ports, pid } = at.server
  await forgetEnrollments(at.connection)
  await load.order({ do: 'sign', count, passes, audience, port: ports.plain })
  const target: Target = {
    port: way === 'plain' ? ports.plain : ports.tls,
    tls: way !== 'plain',
    fresh: way.endsWith('new connection'),
  }
  const watched = { node: pid, postgres: postgres.pid(), load: load.pid }
  return measure(watched, () => load.order<Timing>({ do: 'claim', target, inFlight: size.inFlight }))
}

async function beside(bench: Bench, at: Standing, program: string): Promise<Measured> {
  const clients = 16
  await forgetEnrollments(at.connection)
  const perClient = Math.floor(size.claims / clients)
  const timing = { count: clients * perClient, p50: 0, p99: 0, refused: {} }
  let perSecond = 0
  const cost = await measure({ node: undefined, postgres: bench.postgres.pid(), load: process.pid }, async () => {
    perSecond = await pgbench(program, at.connection, { clients, perClient, documentBytes })
    return { ...timing, seconds: timing.count / perSecond }
  })
  return { ...cost, perSecond }
}

let documentBytes = 8_192
async function readDocumentSize({ connection }: Standing): Promise<void> {
  await asking(connection, async (sql) => {
    const [row] = await sql`select avg(octet_length(document_sealed))::int as bytes from enrollments`
    documentBytes = row?.bytes ?? documentBytes
  })
}

async function enrolments(bench: Bench): Promise<void> {
  const at = await stand(bench, { name: 'storm', devices: Math.max(10_000 * scale, size.claims), perCluster: 50 })
  const program = findPgbench()
  const results: Record<string, Measured[]> = { plain: [], tls: [], 'tls, new connection': [], pgbench: [] }
  await claims(bench, at, 'plain', size.claims)
  await readDocumentSize(at)
  for (let round = 0; round < size.rounds; round++) {
    results.plain?.push(await claims(bench, at, 'plain', size.claims))
    if (program) results.pgbench?.push(await beside(bench, at, program))
    results.tls?.push(await claims(bench, at, 'tls', size.tlsClaims))
    results['tls, new connection']?.push(await claims(bench, at, 'tls, new connection', size.tlsClaims))
    progress(`round ${round + 1}`)
  }
  const memory = memoryOf(at.server.pid)
  await at.server.stop()

  say(
    `Enrolments, ${size.inFlight} in flight; document sealed ${documentBytes} bytes; median of ${size.rounds} interleaved rounds (lowest–highest)`,
  )
  say(enrolmentTable(results))
  if (!program) say('pgbench is not here (Debian: postgresql-contrib): nothing to compare with.')
  const ratio = median(
    (results.plain ?? []).map((r, i) => r.perSecond / (results.pgbench?.[i]?.perSecond ?? Number.NaN)),
  )
  say(
    `plain ÷ pgbench: ${ratio.toFixed(2)} (target ≥ 0.5). Server memory: ${memory.now} MB, at most ${memory.peak} MB (target < 200).`,
  )
}

function enrolmentTable(results: Record<string, Measured[]>): string {
  const column = (rows: Measured[], pick: (row: Measured) => number) => (rows.length ? spread(rows.map(pick)) : '')
  const head = ['', 'enrol/s', 'p50 ms', 'p99 ms', 'node µs', 'postgres µs', 'load µs']
  const rows = Object.entries(results).map(([name, rows]) => {
    const timed = name === 'pgbench' ? [] : rows
    return [
      name === 'pgbench' ? 'pgbench, same statements, 16 clients' : name,
      column(rows, (r) => r.perSecond),
      column(timed, (r) => r.p50),
      column(timed, (r) => r.p99),
      column(timed, (r) => r.node),
      column(rows, (r) => r.postgres),
      column(timed, (r) => r.load),
    ]
  })
  return table(head, rows)
}

async function sizes(bench: Bench): Promise<void> {
  const count = 1_000
  const passes = 2
  const small = await stand(bench, { name: 'small', devices: count, perCluster: 10 })
  const large = await stand(bench, { name: 'large', devices: size.large, perCluster: 10 })
  const alone = await stand(bench, { name: 'alone', devices: count, perCluster: 1 })
  const rolls = { small, large, alone }
  const results: Record<keyof typeof rolls, Measured[]> = { small: [], large: [], alone: [] }
  for (const at of Object.values(rolls)) await claims(bench, at, 'plain', count, passes)
  for (let round = 0; round < size.rounds; round++) {
    for (const name of ['small', 'large', 'alone'] as const) {
      results[name].push(await claims(bench, rolls[name], 'plain', count, passes))
    }
    progress(`sizes, round ${round + 1}`)
  }
  for (const at of Object.values(rolls)) await at.server.stop()
  const cost = (r: Measured) => r.node + r.postgres
  say(`The roll's size; ${count} devices claim ${passes} times each, median of ${size.rounds} interleaved rounds`)
  const names = {
    small: `${count} devices`,
    large: `${size.large.toLocaleString('en')} devices`,
    alone: `${count} devices, a cluster each`,
  }
  say(
    table(
      ['', 'enrol/s', 'p99 ms', 'node µs', 'postgres µs', 'node + postgres µs'],
      Object.entries(results).map(([name, rows]) => [
        names[name as keyof typeof names],
        ...[
          (r: Measured) => r.perSecond,
          (r: Measured) => r.p99,
          (r: Measured) => r.node,
          (r: Measured) => r.postgres,
          cost,
        ].map((pick) => spread(rows.map(pick))),
      ]),
    ),
  )
  const ratio = median(results.large.map(cost)) / median(results.small.map(cost))
  say(`CPU, large ÷ small: ${ratio.toFixed(2)} (target ≤ 1.3)`)
}

async function challenged(bench: Bench): Promise<void> {
  const at = await stand(bench, { name: 'challenge', devices: 10, perCluster: 10 })
  say(await challenges({ ...bench, server: at.server }, size))
  await at.server.stop()
}

async function refused(bench: Bench): Promise<void> {
  const at = await stand(bench, { name: 'refusals', devices: size.tlsClaims, perCluster: 50 })
  const flood = { ...bench, server: at.server, audience }
  const ask = { claims: size.tlsClaims, rounds: size.rounds, inFlight: size.inFlight }
  say(await refusals(flood, ask, () => forgetEnrollments(at.connection)))
  await at.server.stop()
}

async function heldPolls(bench: Bench): Promise<void> {
  const at = await stand(bench, { name: 'polls', devices: size.polls, perCluster: 3 })
  say(await polls(bench, at, size.polls, scale < 1 ? 1 : 3))
  await at.server.stop()
}

const say = (text: string) => console.log(`${text}\n`)
const progress = (text: string) => process.stderr.write(`  … ${text}\n`)

if (process.platform !== 'linux') {
  say('The benchmark reads CPU time from /proc: it runs on Linux only.')
  process.exit(1)
}
const observer = ({ postgres }: Bench) =>
  observing({ postgres, sealing, vault, say, progress }, { clusters: 1_000 * scale, nodes: 10 }, 120 * scale)

const boxes = () => fleet(say, progress, Math.round(47 * scale))
const parts = { challenge: challenged, enrolments, refusals: refused, sizes, observer, polls: heldPolls, fleet: boxes }
const chosen = process.argv.slice(2)
const postgres = await startPostgres()
const load = startLoad()
const stop = async () => {
  load.stop()
  await postgres.close()
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop().then(() => process.exit(1)))
try {
  say(
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model}; server, PostgreSQL 18 and load on the same cores.`,
  )
  const pinned = await load.order<Pinned[]>({ do: 'keys', count: Math.max(size.claims, 1_000) })
  for (const [name, part] of Object.entries(parts)) {
    if (chosen.length === 0 || chosen.includes(name)) await part({ postgres, load, pinned })
  }
} finally {
  await stop()
}
