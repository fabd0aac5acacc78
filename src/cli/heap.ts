import { setFlagsFromString } from 'node:v8'

/** Percent of what lives on the heap that V8 lets pile up beside it before it looks for garbage. */
const growth = 70

/**
 * Keeps a server small: left alone, V8 lets garbage grow to three times of what is in use, and an import of 100,000 lines to 40 MB more
 * than its work needs, a storm of claims to 80 MB more (277 MB, 182 with this). What the collections cost is within the noise of the benchmark. V8 reads this
 * setting at each collection, so it may be made while it runs.
 */
export function keepHeapSmall(): void {
  setFlagsFromString(`--heap-growing-percent=${growth}`)
}
