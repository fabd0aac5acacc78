import { constants, type NodeGCPerformanceDetail, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks'
import { getHeapStatistics, setFlagsFromString } from 'node:v8'

/** Percent of what lives on the heap that V8 lets pile up beside it before it looks for garbage. */
const growth = { least: 20, most: 70 } as const

/** Bytes of garbage that a large heap may hold: 10,000 held task polls keep 110 MB alive, and with 70 % of that beside it the process took 30 MB more. */
const garbage = 32 * 1_048_576

/**
 * Keeps a server small: left alone, V8 lets garbage grow to three times of what is in use, and an import of 100,000 lines to 40 MB more
 * than its work needs, a storm of claims to 80 MB more (277 MB, 182 with this). What the collections cost is within the noise of the benchmark. V8 reads this
 * setting at each collection, so it may be made while it runs.
 */
export function keepHeapSmall(): void {
  let set: number | undefined
  const follow = () => {
    const percent = heapGrowth(getHeapStatistics().used_heap_size)
    if (percent !== set) setFlagsFromString(`--heap-growing-percent=${percent}`)
    set = percent
  }
  follow()
  // Only after a whole collection is what is used what lives.
  new PerformanceObserver((list) => {
    if (list.getEntries().some(isWhole)) follow()
  }).observe({ entryTypes: ['gc'] })
}

/** Percent that a heap may grow beyond so many living bytes: the same share of a small one, the same amount of a large one. */
export function heapGrowth(live: number): number {
  return Math.max(growth.least, Math.min(growth.most, Math.round((100 * garbage) / live)))
}

const isWhole = (entry: PerformanceEntry) =>
  (entry as PerformanceEntry & { detail?: NodeGCPerformanceDetail }).detail?.kind ===
  constants.NODE_PERFORMANCE_GC_MAJOR
