import type { Timing } from './load.ts'
import { cpuOf, cpuOfFamily } from './process-cost.ts'

/** CPU in microseconds an operation. */
export type Cost = { node: number; postgres: number; load: number }
export type Measured = Timing & Cost & { perSecond: number }

export type Watched = { node: number | undefined; postgres: number; load: number }

/** Runs something and says what it cost each of the processes. */
export async function measure(watched: Watched, run: () => Promise<Timing>): Promise<Measured> {
  const now = () => ({
    node: watched.node ? cpuOf(watched.node) : 0,
    postgres: cpuOfFamily(watched.postgres),
    load: cpuOf(watched.load),
  })
  const before = now()
  const timing = await run()
  const after = now()
  const per = (what: keyof Cost) => (after[what] - before[what]) / timing.count
  const refused = Object.entries(timing.refused)
  if (refused.length > 0) throw new Error(`not all were answered as expected: ${JSON.stringify(timing.refused)}`)
  return {
    ...timing,
    perSecond: timing.count / timing.seconds,
    node: per('node'),
    postgres: per('postgres'),
    load: per('load'),
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}

/** `median (lowest–highest)`, rounded. */
export function spread(values: readonly number[]): string {
  const round = (value: number) => (value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString('en'))
  return `${round(median(values))} (${round(Math.min(...values))}–${round(Math.max(...values))})`
}

/** A plain text table, first column to the left. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows]
  const widths = head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)))
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')
  return [line(head), widths.map((width) => '-'.repeat(width)).join('  '), ...rows.map(line)].join('\n')
}
