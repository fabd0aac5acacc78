import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Held } from './hold.ts'
import { table } from './measure.ts'
import { cpuOf, cpuOfFamily, memoryOf } from './process-cost.ts'
import type { Connection, Load, Postgres, Server } from './programs.ts'
import { asking } from './roll.ts'

/** Seconds that a poll is held: what rollcall-node asks for. */
const wait = 25

type Standing = { connection: Connection; server: Server }

/** What it costs to hold the task polls of so many servers, over TLS, in the state of rest: each is answered and asked again after 25 s. */
export async function polls(
  { postgres, load }: { postgres: Postgres; load: Load },
  { connection, server }: Standing,
  count: number,
  rounds: number,
): Promise<string> {
  const credentials = await addServers(connection, count)
  const before = memoryOf(server.pid).now
  const from = Date.now()
  await load.order<Held>({ do: 'hold', credentials, port: server.ports.tls, wait })
  const opened = (Date.now() - from) / 1000
  // Those that were held first are asked again meanwhile.
  await sleep(wait * 1000)
  await load.order<Held>({ do: 'look' })
  const cpu = () => ({ node: cpuOf(server.pid), postgres: cpuOfFamily(postgres.pid()) })
  const [start, at] = [cpu(), Date.now()]
  await sleep(rounds * wait * 1000)
  const [end, seconds] = [cpu(), (Date.now() - at) / 1000]
  const held = await load.order<Held>({ do: 'look' })
  const memory = memoryOf(server.pid)
  await load.order({ do: 'release' })
  if (held.open !== count || Object.keys(held.refused).length > 0)
    throw new Error(`not all held: ${JSON.stringify(held)}`)
  const share = (spent: number) => `${(spent / seconds / 10_000).toFixed(1)} %`
  return [
    `${count.toLocaleString('en')} task polls held over TLS, ${wait} s each; opened in ${opened.toFixed(1)} s`,
    table(
      ['', 'MB before', 'MB held', 'MB at most', 'polls/s', 'node of a core', 'postgres of a core'],
      [
        [
          'server',
          `${before}`,
          `${memory.now}`,
          `${memory.peak}`,
          (held.answered / seconds).toFixed(0),
          share(end.node - start.node),
          share(end.postgres - start.postgres),
        ],
      ],
    ),
    `Memory held: ${memory.peak} MB (target < 500 for 10,000)`,
  ].join('\n\n')
}

/** Gives each device of the roll a live enrollment as server. @returns their node credentials */
async function addServers(connection: Connection, count: number): Promise<string[]> {
  const credentials = Array.from({ length: count }, () => randomBytes(32).toString('base64url'))
  const hashes = credentials.map((text) => createHash('sha256').update(text).digest('hex'))
  await asking(connection, async (sql) => {
    await sql`insert into enrollments (id, device_id, cluster_id, profile_id, profile_revision, role, hostname, assurance, claim_hash,
        created_at, document_type, document_digest, join_hash, join_expires_at, report_hash, report_expires_at, node_hash)
      select 'enr_poll_' || h.n, d.id, d.cluster_id, d.profile_id, 1, 'server', d.hostname, 'key', sha256('c'), now(), 'text/cloud-config',
        'd', sha256(('j' || h.n)::bytea), now(), sha256(('r' || h.n)::bytea), now(), decode(h.hash, 'hex')
      from unnest(${hashes}::text[]) with ordinality as h(hash, n) join devices d on d.id = 'dev_bench_' || h.n - 1`
    await sql`vacuum analyze enrollments`
  })
  return credentials
}
