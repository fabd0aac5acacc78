import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import type { Vault } from '../../src/store/vault.ts'
import { key, makeObserved, type Size } from './observed-clusters.ts'
import { cpuOf, cpuOfFamily, memoryOf } from './process-cost.ts'
import type { Connection, Postgres } from './programs.ts'

type Deps = {
  postgres: Postgres
  sealing: Buffer
  vault: Vault
  say: (text: string) => void
  progress: (text: string) => void
}

/** Shares of one core, in per cent. */
type Shares = { node: number; postgres: number }

/** Seconds from the first look until it is measured: V8's threads compile for more than a minute, which a server does once. */
const warming = 120

/**
 * What it costs to observe clusters whose kubelets renew their Leases every ten seconds meanwhile, and how old what is shown gets. What PostgreSQL
 * does for the kubelets alone, autovacuum above all, is measured before and after.
 */
export async function observing(deps: Deps, size: Size, seconds: number): Promise<void> {
  const { sealing, vault, say, progress } = deps
  const made = await makeObserved(deps.postgres.connection, size, vault, progress)
  const child = start({
    connection: made.connection,
    sealing: sealing.toString('base64'),
    key: Buffer.from(key).toString('base64'),
  })
  await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')
  const kubelets = renewing(made.renew, size.clusters)
  const watch = watching(made.connection)
  const apart = [made.writer, await watch.pid()]
  const measured = () => shares(child.pid as number, deps.postgres.pid(), apart, seconds)
  try {
    // Until autovacuum, which comes for what the kubelets write, has found its pace.
    await sleep(seconds * 1_000)
    const memory = memoryOf(child.pid as number).now
    const before = await measured()
    progress('without the observer')
    child.stdin?.write('\n')
    await sleep(warming * 1_000)
    progress('all looked at, and what is run often is compiled')
    watch.begin()
    const during = await measured()
    const ages = watch.end()
    const sessions = await watch.sessions()
    const more = memoryOf(child.pid as number).now - memory
    child.stdin?.write('\n')
    const after = await measured()
    progress('and without it again')
    const cost = (of: keyof Shares) => during[of] - (before[of] + after[of]) / 2
    say(
      `Observing ${size.clusters} clusters × ${size.nodes} Nodes, whose Leases are renewed every 10 s, for ${seconds} s: node ${cost('node').toFixed(1)} % and ` +
        `PostgreSQL ${cost('postgres').toFixed(1)} % of a core (target: together < 10 %; PostgreSQL without the observer, before and after: ` +
        `${before.postgres.toFixed(1)} and ${after.postgres.toFixed(1)} %); what is shown is at most ${Math.max(...ages)} s old (target ≤ 30 s); ` +
        `memory: node ${more} MB, the observer's sessions in PostgreSQL ${sessions} MB (target: together < 60 MB more). ` +
        `Renewals written: ${kubelets.written()}.`,
    )
  } finally {
    await kubelets.stop()
    child.stdin?.end()
    await once(child, 'exit')
    await watch.close()
    await made.close()
  }
}

function start(what: object): ChildProcess {
  const child = spawn(process.execPath, [fileURLToPath(new URL('observer.mjs', import.meta.url))], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_ENV: 'production' },
  })
  child.stdin?.write(`${JSON.stringify(what)}\n`)
  return child
}

function renewing(renew: (cluster: number) => Promise<void>, clusters: number) {
  let stopped = false
  let written = 0
  const running = (async () => {
    const begun = Date.now()
    while (!stopped) {
      await renew(written % clusters)
      written++
      const ahead = (written / clusters) * 10_000 - (Date.now() - begun)
      if (ahead > 0) await sleep(ahead)
    }
  })()
  return {
    written: () => written,
    stop: async () => {
      stopped = true
      await running
    },
  }
}

/** PostgreSQL's without the sessions that play the kubelets and that watch. */
async function shares(node: number, postmaster: number, apart: readonly number[], seconds: number): Promise<Shares> {
  const now = () => ({
    at: performance.now(),
    node: cpuOf(node),
    postgres: apart.reduce((sum, pid) => sum - cpuOf(pid), cpuOfFamily(postmaster)),
  })
  const before = now()
  await sleep(seconds * 1_000)
  const after = now()
  const share = (microseconds: number) => microseconds / (after.at - before.at) / 10
  return { node: share(after.node - before.node), postgres: share(after.postgres - before.postgres) }
}

/** Looks, in one session of its own, how old what the roll shows is, and how large the observer's sessions are. */
function watching(connection: Connection) {
  const sql = postgres('postgres://localhost', { ...connection, max: 1, onnotice: () => {}, fetch_types: false })
  const ages: number[] = []
  let timer: NodeJS.Timeout | undefined
  const oldest = async () => {
    const [row] = await sql`select extract(epoch from now() - min(observed_at))::int as age from clusters`
    ages.push(row?.age ?? Number.NaN)
  }
  return {
    pid: async () => ((await sql`select pg_backend_pid() as pid`)[0] as { pid: number }).pid,
    begin: () => {
      timer = setInterval(() => void oldest(), 2_000)
    },
    /** @returns ages in seconds */
    end: () => {
      clearInterval(timer)
      return ages
    },
    /** Private memory, MB */
    sessions: async () => {
      const rows = await sql<{ pid: number }[]>`select pid from pg_stat_activity where usename = 'rollcall_observer'`
      return Math.round(rows.reduce((sum, { pid }) => sum + privateKilobytes(pid), 0) / 1024)
    },
    close: () => sql.end(),
  }
}

function privateKilobytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return [...text.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kb]) => sum + Number(kb), 0)
}
