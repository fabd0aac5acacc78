import type { Timing } from './load.ts'
import { type Measured, measure, spread, table } from './measure.ts'
import type { Load, Postgres, Server } from './programs.ts'

type Size = { challenges: number; rounds: number; inFlight: number }

/**
 * What a nonce costs beside hono's hello (DESIGN.md, "Cost of each device route").
 * @returns the table
 */
export async function challenges(
  bench: { postgres: Postgres; load: Load; server: Server },
  size: Size,
): Promise<string> {
  const { ports, pid } = bench.server
  const routes = {
    'GET /v1/challenge': [ports.plain, '/v1/challenge'],
    "hono's hello": [ports.hello, '/hello'],
  } as const
  const results: Record<string, Measured[]> = {}
  for (let round = 0; round <= size.rounds; round++) {
    for (const [name, [port, path]] of Object.entries(routes)) {
      const watched = { node: pid, postgres: bench.postgres.pid(), load: bench.load.pid }
      const target = { port, tls: false, fresh: false }
      const order = { do: 'get', path, target, inFlight: size.inFlight, requests: size.challenges } as const
      const measured = await measure(watched, () => bench.load.order<Timing>(order))
      // The first round warms up.
      if (round > 0) results[name] = [...(results[name] ?? []), measured]
    }
  }
  const figures = [(row: Measured) => row.perSecond, (row: Measured) => row.p99, (row: Measured) => row.node]
  const rows = Object.entries(results).map(([name, rows]) => [name, ...figures.map((pick) => spread(rows.map(pick)))])
  const head = ['', 'requests/s', 'p99 ms', 'node µs']
  return `Challenge, ${size.inFlight} in flight, one connection each, kept alive\n\n${table(head, rows)}`
}
