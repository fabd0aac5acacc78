import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'

/** Milliseconds that a change may wait before it is seen to; well below our lock_timeout (connect.ts). */
const grace = 1_000

/**
 * Does a change that waits for nobody's nodes: sessions of theirs that stand in its way are ended. A node of any cluster may, e.g., grant something
 * to another cluster's role and never commit, which holds that role. K3s does nothing of the kind, and connects again.
 * @param sql our own role in the clusters' database, with a connection to spare
 */
export async function unblocked<T>(sql: Sql, change: () => Promise<T>): Promise<T> {
  const over = new AbortController()
  const watch = async () => {
    while (!over.signal.aborted) {
      await sleep(grace, undefined, { signal: over.signal })
      await endBlockers(sql)
    }
  }
  // What it cannot do, the change says by its own error.
  const watching = watch().catch(() => {})
  try {
    return await change()
  } finally {
    over.abort()
    await watching
  }
}

async function endBlockers(sql: Sql): Promise<void> {
  await sql`
    select pg_terminate_backend(node.pid)
    from pg_stat_activity ours, unnest(pg_blocking_pids(ours.pid)) as blocker (pid)
    join pg_stat_activity node on node.pid = blocker.pid
    where ours.usename = current_user and ours.datname = current_database() and ours.wait_event_type = 'Lock'
      and node.usename like 'k3s\\_n\\_%'`
}
