/** A seeded source of chance (mulberry32): a run that failed can be run again. */
export function chance(seed: number) {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
  return { between: (low: number, high: number) => low + next() * (high - low), happens: (p: number) => next() < p }
}
export type Chance = ReturnType<typeof chance>

type Event = { at: number; order: number; wake: () => void }

/** Seconds that pass as fast as those who wait for them can think. */
export class VirtualTime {
  now: number
  #order = 0
  readonly #heap: Event[] = []

  constructor(now: number) {
    this.now = now
  }

  sleep(seconds: number): Promise<void> {
    return new Promise((wake) => this.#push({ at: this.now + seconds, order: this.#order++, wake }))
  }

  /** Runs until nobody waits for anything, or it is `end`. @returns whether everybody came to an end */
  async run(end: number, after: () => void): Promise<boolean> {
    await settled()
    for (let event = this.#pop(); event; event = this.#pop()) {
      if (event.at > end) return false
      this.now = event.at
      event.wake()
      await settled()
      after()
    }
    return true
  }

  #push(event: Event): void {
    const heap = this.#heap
    let i = heap.push(event) - 1
    while (i > 0) {
      const up = (i - 1) >> 1
      if (!before(event, heap[up] as Event)) break
      heap[i] = heap[up] as Event
      i = up
    }
    heap[i] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (!top || !last || heap.length === 0) return top
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Event, heap[child] as Event)) child++
      if (!before(heap[child] as Event, last)) break
      heap[i] = heap[child] as Event
      i = child
    }
    heap[i] = last
    return top
  }
}

const before = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.order < b.order)

/** Everything that follows from what just happened has happened. */
const settled = () => new Promise((done) => setImmediate(done))
