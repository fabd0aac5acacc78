/** A poll that waits for something to do. */
export type HeldPoll = {
  clusterId: string
  /** Hash of the node credential that asked */
  hash: string
  /** Ends the wait. `''` = nothing to do. */
  answer: (lines: string) => void
  refuse: (error: unknown) => void
}

/**
 * Polls that are held open, by cluster, oldest first. Waiting costs no query: a poll ends when it is answered, when its time is up,
 * when its client goes away, or when the server ends.
 */
export class HeldPolls {
  readonly #byCluster = new Map<string, Set<HeldPoll>>()
  #size = 0
  #closed = false

  get size(): number {
    return this.#size
  }

  get closed(): boolean {
    return this.#closed
  }

  /**
   * @param wait seconds
   * @param gone aborted when the client went away
   */
  hold(clusterId: string, hash: string, wait: number, gone: AbortSignal): Promise<string> {
    if (this.#closed || gone.aborted || wait <= 0) return Promise.resolve('')
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        gone.removeEventListener('abort', nothing)
        this.#remove(poll)
      }
      const nothing = () => poll.answer('')
      const poll: HeldPoll = {
        clusterId,
        hash,
        answer: (lines) => {
          end()
          resolve(lines)
        },
        refuse: (error) => {
          end()
          reject(error)
        },
      }
      const timer = setTimeout(nothing, wait * 1000)
      gone.addEventListener('abort', nothing)
      this.#add(poll)
    })
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
    for (const polls of [...this.#byCluster.values()]) for (const poll of [...polls]) poll.answer('')
  }

  #add(poll: HeldPoll): void {
    const polls = this.#byCluster.get(poll.clusterId)
    if (polls) polls.add(poll)
    else this.#byCluster.set(poll.clusterId, new Set([poll]))
    this.#size++
  }

  #remove(poll: HeldPoll): void {
    const polls = this.#byCluster.get(poll.clusterId)
    if (!polls?.delete(poll)) return
    this.#size--
    if (polls.size === 0) this.#byCluster.delete(poll.clusterId)
  }
}
