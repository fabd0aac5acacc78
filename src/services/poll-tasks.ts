import { AppError } from '../errors.ts'
import { dueClusters, mostTaken, type PollRow, selectPolls, takeTasks } from '../store/task-queue.ts'
import { batcher } from './batch.ts'
import type { Context } from './context.ts'
import { type HeldPoll, HeldPolls, type Settle } from './held-polls.ts'
import { credentialHash } from './node-credential.ts'
import { isRowError } from './row-error.ts'
import { taskLine } from './task-line.ts'

/** Polls that one credential may hold at a time. DESIGN.md, "Cost of each device route". */
const mostHeld = 16

/** Seconds between two looks at the database for all held polls together: the safety net under `wake`. */
const sweepEvery = 5

/**
 * Milliseconds for which what there is to do gathers: the tokens of agents that claim at once are then applied by one `kubectl`, which costs a small server more
 * than all of them, instead of one by one on as many servers as poll. K3s tries a token again every few seconds until the cluster knows it.
 */
const gathering = 250

/** Polls that begin together share a select. */
const together = { max: 256, inFlight: 2 } as const

/** Waits: `settle` is called once, later, unless what is returned is released before. Must be called, and at once. */
export type Wait = (settle: Settle) => Pick<HeldPoll, 'release'>

export type TaskPolls = {
  /**
   * What a cluster shall do, one task a line.
   * @param wait seconds that may be waited for something
   * @returns the lines, `''` for nothing, or what waits for them
   * @throws AppError `credential_invalid`; `rate_limited` when this credential holds too many polls
   */
  poll: (credential: string, wait: number) => Promise<string | Wait>
  /** Looks again for a cluster whose polls are held here. */
  wake: (clusterId: string) => void
  /** Polls that are held now */
  held: () => number
  /** Answers all held polls, and holds none any more. */
  close: () => void
}

type Deps = Pick<Context, 'sql' | 'vault' | 'now' | 'log'>

/** Long polls for tasks: one select when a poll begins, none while it is held, one sweep a process for all of them. */
export function taskPolls(deps: Deps): TaskPolls {
  const { sql, now } = deps
  const seats = seating()
  const held = new HeldPolls(seats.leave)
  const server = clusterServer(deps, held)
  const sweeper = sweeping(deps, held, server.serve)
  const select = batcher<string, PollRow | undefined>({
    ...together,
    run: (hashes) => selectPolls(sql, hashes, now()),
    isolate: isRowError,
  })

  const look = async (hash: string) => {
    const row = await select(hash)
    const lines = row?.due ? await takeLines(deps, hash) : { text: '' }
    if (!row || !lines) throw new AppError('credential_invalid')
    return { clusterId: row.cluster_id, text: lines.text }
  }
  const waiting = (clusterId: string, hash: string, wait: number, since: number): Wait => {
    return (settle) => {
      const poll = held.hold(clusterId, hash, wait, settle)
      sweeper.start()
      if (server.wasWoken(clusterId, since)) void server.serve(clusterId)
      return poll
    }
  }

  return {
    poll: async (credential, wait) => {
      const hash = credentialHash(credential)
      const since = server.wakes()
      seats.take(hash)
      let waits = false
      try {
        const { clusterId, text } = await look(hash)
        if (text !== '' || wait <= 0 || held.closed) return text
        waits = true
        return waiting(clusterId, hash, wait, since)
      } finally {
        if (!waits) seats.leave(hash)
      }
    },
    wake: server.wake,
    held: () => held.size,
    close: () => {
      server.close()
      held.close()
      sweeper.stop()
    },
  }
}

/** Counts the polls of each credential. */
function seating() {
  const taken = new Map<string, number>()
  return {
    take: (hash: string): void => {
      const seats = taken.get(hash) ?? 0
      if (seats >= mostHeld) throw new AppError('rate_limited', { detail: `at most ${mostHeld} polls at a time` })
      taken.set(hash, seats + 1)
    },
    leave: (hash: string): void => {
      const left = (taken.get(hash) as number) - 1
      if (left === 0) taken.delete(hash)
      else taken.set(hash, left)
    },
  }
}

type Lines = { text: string; count: number }

async function takeLines({ sql, vault, now }: Deps, hash: string): Promise<Lines | undefined> {
  const tasks = await takeTasks(sql, hash, now())
  return tasks && { text: tasks.map((task) => `${taskLine(vault, task)}\n`).join(''), count: tasks.length }
}

/** Gives a cluster's tasks to its held polls, the oldest first; one whose credential ended meanwhile gets nothing. */
function clusterServer(deps: Deps, held: HeldPolls) {
  const serving = new Map<string, { again: boolean }>()
  const woken = new Map<string, number>()
  const gathered = new Map<string, NodeJS.Timeout>()
  let wakes = 0

  const round = async (clusterId: string) => {
    for (let poll = held.oldest(clusterId); poll; poll = held.oldest(clusterId)) {
      const lines = await takeLines(deps, poll.hash)
      if (lines?.text === '') return
      // The next poll of an ended credential is refused.
      poll.end(lines?.text ?? '')
      if (lines && lines.count < mostTaken) return
    }
  }
  const serve = async (clusterId: string): Promise<void> => {
    const running = serving.get(clusterId)
    if (running) {
      running.again = true
      return
    }
    const state = { again: true }
    serving.set(clusterId, state)
    try {
      while (state.again) {
        state.again = false
        await round(clusterId)
      }
    } catch (error) {
      // The sweep comes back to it.
      deps.log.debug({ err: { message: (error as Error).message } }, 'held polls not answered')
    } finally {
      serving.delete(clusterId)
    }
  }
  const gather = (clusterId: string) => {
    gathered.delete(clusterId)
    void serve(clusterId)
  }
  return {
    serve,
    close: () => {
      for (const timer of gathered.values()) clearTimeout(timer)
      gathered.clear()
    },
    wakes: () => wakes,
    /** A poll that was between its select and its place among the held ones would miss a wake. */
    wasWoken: (clusterId: string, since: number) => (woken.get(clusterId) ?? 0) > since,
    wake: (clusterId: string) => {
      if (woken.size >= 10_000) woken.clear()
      woken.set(clusterId, ++wakes)
      if (held.has(clusterId) && !gathered.has(clusterId))
        gathered.set(clusterId, setTimeout(gather, gathering, clusterId).unref())
    },
  }
}

/** Runs only while polls are held. */
function sweeping({ sql, now, log }: Deps, held: HeldPolls, serve: (clusterId: string) => Promise<void>) {
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    clearInterval(timer)
    timer = undefined
  }
  const pass = async () => {
    if (held.size === 0) return stop()
    try {
      for (const clusterId of await dueClusters(sql, now())) if (held.has(clusterId)) void serve(clusterId)
    } catch (error) {
      log.debug({ err: { message: (error as Error).message } }, 'held polls not swept')
    }
  }
  return {
    stop,
    start: () => {
      if (held.size === 0) return
      timer ??= setInterval(() => void pass(), sweepEvery * 1000).unref()
    },
  }
}
