import type { Fault, Timing } from './load.ts'
import { type Measured, measure, median, spread, table } from './measure.ts'
import type { Load, Postgres, Server } from './programs.ts'

type Flood = { postgres: Postgres; load: Load; server: Server; audience: string }
type Size = { claims: number; rounds: number; inFlight: number }

type Way = { name: string; status: number; fault?: Fault; target?: number }

const ways: Way[] = [
  { name: 'accepted', status: 200 },
  { name: 'a nonce that is not ours', status: 401, fault: 'nonce', target: 0.25 },
  { name: 'a forged signature', status: 401, fault: 'signature', target: 0.75 },
  { name: 'a serial that is not on the roll', status: 403, fault: 'serial', target: 0.75 },
]

/**
 * What those cost who may not enrol, next to an honest claim (DESIGN.md, "Cost of each device route"): a flood of refusals must not be
 * dearer than work.
 * @param forget lets the devices claim as if for the first time
 * @returns the table, and whether the targets hold
 */
export async function refusals(flood: Flood, size: Size, forget: () => Promise<void>): Promise<string> {
  const results = ways.map((): Measured[] => [])
  for (let round = 0; round <= size.rounds; round++) {
    for (const [i, way] of ways.entries()) {
      await forget()
      const measured = await claim(flood, size, way)
      // The first round warms up.
      if (round > 0) results[i]?.push(measured)
    }
  }
  return report(results)
}

async function claim({ load, server, postgres, audience }: Flood, { claims, inFlight }: Size, { fault, status }: Way) {
  await load.order({
    do: 'sign',
    count: claims,
    passes: 1,
    audience,
    port: server.ports.plain,
    ...(fault && { fault }),
  })
  const target = { port: server.ports.plain, tls: false, fresh: false }
  const order = { do: 'claim', target, inFlight, status } as const
  return measure({ node: server.pid, postgres: postgres.pid(), load: load.pid }, () => load.order<Timing>(order))
}

function report(results: Measured[][]): string {
  const cost = (row: Measured) => row.node + row.postgres
  const honest = median((results[0] ?? []).map(cost))
  const rows = ways.map(({ name, target }, i) => {
    const measured = results[i] ?? []
    const share = median(measured.map(cost)) / honest
    const figures = [(row: Measured) => row.perSecond, (row: Measured) => row.node, (row: Measured) => row.postgres]
    const verdict = target ? `${share.toFixed(2)} (target < ${target})` : ''
    return [name, ...figures.map((pick) => spread(measured.map(pick))), verdict]
  })
  const head = ['', 'claims/s', 'node µs', 'postgres µs', '÷ accepted, CPU']
  return `Claims that are refused, beside one that is accepted\n${table(head, rows)}`
}
