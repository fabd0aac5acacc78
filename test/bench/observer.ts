import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Vault } from '../../src/store/vault.ts'
import { key, makeObserved, type Size } from './observed-clusters.ts'
import { cpuOf, cpuOfFamily, memoryOf } from './process-cost.ts'
import type { Postgres } from './programs.ts'
import { asking } from './roll.ts'

type Deps = {
  postgres: Postgres
  sealing: Buffer
  vault: Vault
  say: (text: string) => void
  progress: (text: string) => void
}

/** Shares of one core, in per cent. */
type Shares = { node: number; postgres: number }

/** What it costs to observe clusters whose kubelets renew their Leases every ten seconds meanwhile, and how old what is shown gets. */
export async function observing(deps: Deps, size: Size, seconds: number): Promise<void> {
  const { postgres, sealing, vault, say, progress } = deps
  const made = await makeObserved(postgres.connection, size, vault, progress)
  const child = start({
    connection: made.connection,
    sealing: sealing.toString('base64'),
    key: Buffer.from(key).toString('base64'),
  })
  await once(createInterface({ input: child.stdout as NodeJS.ReadableStream }), 'line')
  const kubelets = renewing(made.renew, size.clusters)
  const measured = async () => shares(child.pid as number, postgres.pid(), made.writer, seconds)
  try {
    await sleep(5_000)
    const before = { memory: memoryOf(child.pid as number).now, shares: await measured() }
    progress('without the observer')
    child.stdin?.write('\n')
    await sleep(40_000)
    progress('all looked at once')
    const ages: number[] = []
    const watch = setInterval(() => void oldest(made.connection).then((age) => ages.push(age)), 2_000)
    const during = await measured()
    clearInterval(watch)
    const memory = {
      node: memoryOf(child.pid as number).now - before.memory,
      postgres: await backends(made.connection),
    }
    const cost = { node: during.node - before.shares.node, postgres: during.postgres - before.shares.postgres }
    say(
      `Observing ${size.clusters} clusters × ${size.nodes} Nodes, whose Leases are renewed every 10 s, for ${seconds} s: node ${cost.node.toFixed(1)} % and ` +
        `PostgreSQL ${cost.postgres.toFixed(1)} % of a core (target: together < 10 %); what is shown is at most ${Math.max(...ages)} s old (target ≤ 30 s); ` +
        `memory: node ${memory.node} MB, the observer's sessions in PostgreSQL ${memory.postgres} MB (target: together < 60 MB more). ` +
        `Renewals written: ${kubelets.written()}.`,
    )
  } finally {
    await kubelets.stop()
    child.stdin?.end('\n')
    await once(child, 'exit')
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

/** PostgreSQL's without the session that plays the kubelets. */
async function shares(node: number, postmaster: number, writer: number, seconds: number): Promise<Shares> {
  const now = () => ({ at: performance.now(), node: cpuOf(node), postgres: cpuOfFamily(postmaster) - cpuOf(writer) })
  const before = now()
  await sleep(seconds * 1_000)
  const after = now()
  const share = (microseconds: number) => microseconds / (after.at - before.at) / 10
  return { node: share(after.node - before.node), postgres: share(after.postgres - before.postgres) }
}

const oldest = (connection: Parameters<typeof asking>[0]): Promise<number> =>
  asking(connection, async (sql) => {
    const [row] = await sql`select extract(epoch from now() - min(observed_at))::int as age from clusters`
    return row?.age ?? Number.NaN
  })

/** Private memory of the observer's sessions, MB. */
const backends = (connection: Parameters<typeof asking>[0]): Promise<number> =>
  asking(connection, async (sql) => {
    const rows = await sql<{ pid: number }[]>`select pid from pg_stat_activity where usename = 'rollcall_observer'`
    const kilobytes = rows.map(({ pid }) => {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
      return [...text.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce((sum, [, kb]) => sum + Number(kb), 0)
    })
    return Math.round(kilobytes.reduce((sum, kb) => sum + kb, 0) / 1024)
  })
