/** Ends a wait: with tasks, one a line, or `''` for nothing to do. */
export type Settle = (lines: string) => void

/** A poll that waits for something to do. Ten thousand are held at a time: each is one small object and one timer. */
export class HeldPoll {
  readonly clusterId: string
  /** Hash of the node credential that asked */
  readonly hash: string
  readonly #room: HeldPolls
  readonly #settle: Settle
  readonly #timer: NodeJS.Timeout

  constructor(room: HeldPolls, clusterId: string, hash: string, wait: number, settle: Settle) {
    this.#room = room
    this.clusterId = clusterId
    this.hash = hash
    this.#settle = settle
    this.#timer = setTimeout(expire, wait * 1000, this)
  }

  end(lines: string): void {
    if (this.release()) this.#settle(lines)
  }

  /** Whoever asked went away. @returns false if it had ended before */
  release(): boolean {
    clearTimeout(this.#timer)
    return this.#room.remove(this)
  }
}

function expire(poll: HeldPoll): void {
  poll.end('')
}

/**
 * Polls that are held open, by cluster, oldest first. Waiting costs no query: a poll ends when it is answered, when its time is up,
 * when its client goes away, or when the server ends.
 */
export class HeldPolls {
  readonly #byCluster = new Map<string, Set<HeldPoll>>()
  readonly #left: (hash: string) => void
  #size = 0
  #closed = false

  /** @param left told the credential's hash of each poll that ended */
  constructor(left: (hash: string) => void) {
    this.#left = left
  }

  get size(): number {
    return this.#size
  }

  get closed(): boolean {
    return this.#closed
  }

  /** @param wait seconds */
  hold(clusterId: string, hash: string, wait: number, settle: Settle): HeldPoll {
    const poll = new HeldPoll(this, clusterId, hash, wait, settle)
    const polls = this.#byCluster.get(clusterId)
    if (polls) polls.add(poll)
    else this.#byCluster.set(clusterId, new Set([poll]))
    this.#size++
    if (this.#closed) poll.end('')
    return poll
  }

  remove(poll: HeldPoll): boolean {
    const polls = this.#byCluster.get(poll.clusterId)
    if (!polls?.delete(poll)) return false
    this.#size--
    if (polls.size === 0) this.#byCluster.delete(poll.clusterId)
    this.#left(poll.hash)
    return true
  }

  /** The poll of a cluster that waits longest. */
  oldest(clusterId: string): HeldPoll | undefined {
    return this.#byCluster.get(clusterId)?.values().next().value
  }

  has(clusterId: string): boolean {
    return this.#byCluster.has(clusterId)
  }

  /** Answers all polls, and holds none any more. */
  close(): void {
    this.#closed = true
    for (const polls of [...this.#byCluster.values()]) for (const poll of [...polls]) poll.end('')
  }
}
