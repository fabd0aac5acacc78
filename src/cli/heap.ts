import { constants, type NodeGCPerformanceDetail, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, getHeapStatistics, setFlagsFromString } from 'node:v8'

/** Percent of what lives on the heap that V8 lets pile up beside it before it looks for garbage. */
const growth = { least: 20, most: 70 } as const

/** Bytes of garbage that a large heap may hold: 10,000 held task polls keep 110 MB alive, and with 70 % of that beside it the process took 30 MB more. */
const garbage = 32 * 1_048_576

/**
 * Bytes, both halves, from which the young generation grows no more, and collections a second up to which it does not; looked at between two turns of the
 * event loop. Left alone, it takes 32 MB in Node 20 and 128 MB in Node 24 as soon as modules are loaded, whatever there is to do.
 */
const young = { most: 32 * 1_048_576, seldom: 5 } as const

/**
 * Keeps a server small: left alone, V8 lets garbage grow to three times of what is in use, and an import of 100,000 lines to 40 MB more
 * than its work needs, a storm of claims to 80 MB more (277 MB, 182 with this). What the collections cost is within the noise of the benchmark. V8 reads these
 * settings at each collection, so they may be made while it runs; but before the modules are loaded.
 */
export function keepHeapSmall(): void {
  const percent = flag('heap-growing-percent')
  const factor = flag('semi-space-growth-factor')
  const rate = pace()
  const follow = () => percent(heapGrowth(getHeapStatistics().used_heap_size))
  follow()
  factor(1)
  new PerformanceObserver((list) => {
    const entries = list.getEntries()
    // Only after a whole collection is what is used what lives.
    if (entries.some(isWhole)) follow()
    factor(rate(entries) > young.seldom && youngSize() < young.most ? 2 : 1)
  }).observe({ entryTypes: ['gc'] })
}

function flag(name: string): (value: number) => void {
  let set: number | undefined
  return (value) => {
    if (value !== set) setFlagsFromString(`--${name}=${value}`)
    set = value
  }
}

/** @returns collections in the second before the last one of those that are given */
function pace(): (entries: readonly PerformanceEntry[]) => number {
  let starts: number[] = []
  return (entries) => {
    starts.push(...entries.map(({ startTime }) => startTime))
    const since = (starts.at(-1) ?? 0) - 1_000
    starts = starts.filter((start) => start > since)
    return starts.length
  }
}

const youngSize = (): number =>
  getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')?.space_size ?? 0

/** Percent that a heap may grow beyond so many living bytes: the same share of a small one, the same amount of a large one. */
export function heapGrowth(live: number): number {
  return Math.max(growth.least, Math.min(growth.most, Math.round((100 * garbage) / live)))
}

const isWhole = (entry: PerformanceEntry) =>
  (entry as PerformanceEntry & { detail?: NodeGCPerformanceDetail }).detail?.kind ===
  constants.NODE_PERFORMANCE_GC_MAJOR
