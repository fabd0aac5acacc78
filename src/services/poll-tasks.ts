import { AppError } from '../errors.ts'
import { dueClusters, mostTaken, type PollRow, selectPolls, takeTasks } from '../store/task-queue.ts'
import { batcher } from './batch.ts'
import type { Context } from './context.ts'
import { HeldPolls } from './held-polls.ts'
import { credentialHash } from './node-credential.ts'
import { isRowError } from './row-error.ts'
import { taskLine } from './task-line.ts'

/** Polls that one credential may hold at a time. DESIGN.md, "Cost of each device route". */
const mostHeld = 16

/** Seconds between two looks at the database for all held polls together: the safety net under `wake`. */
const sweepEvery = 5

/** Polls that begin together share a select. */
const together = { max: 256, inFlight: 2 } as const

export type TaskPolls = {
  /**
   * What a cluster shall do, one task a line; waits up to `wait` seconds for something.
   * @param gone aborted when the client went away
   * @returns `''` for nothing
   * @throws AppError `credential_invalid`; `rate_limited` when this credential holds too many polls
   */
  poll: (credential: string, wait: number, gone: AbortSignal) => Promise<string>
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
  const held = new HeldPolls()
  const open = new Map<string, number>()
  const server = clusterServer(deps, held)
  const sweeper = sweeping(deps, held, server.serve)
  const select = batcher<string, PollRow | undefined>({
    ...together,
    run: (hashes) => selectPolls(sql, hashes, now()),
    isolate: isRowError,
  })

  const look = async (hash: string, wait: number, gone: AbortSignal) => {
    const before = server.wakes()
    const row = await select(hash)
    if (!row) throw new AppError('credential_invalid')
    const lines = row.due ? await takeLines(deps, hash) : { text: '' }
    if (!lines) throw new AppError('credential_invalid')
    if (lines.text !== '') return lines.text
    const waiting = held.hold(row.cluster_id, hash, wait, gone)
    if (server.wasWoken(row.cluster_id, before)) void server.serve(row.cluster_id)
    sweeper.start()
    return waiting
  }

  return {
    poll: async (credential, wait, gone) => {
      const hash = credentialHash(credential)
      const running = open.get(hash) ?? 0
      if (running >= mostHeld) throw new AppError('rate_limited', { detail: `at most ${mostHeld} polls at a time` })
      open.set(hash, running + 1)
      try {
        return await look(hash, wait, gone)
      } finally {
        const left = (open.get(hash) as number) - 1
        if (left === 0) open.delete(hash)
        else open.set(hash, left)
      }
    },
    wake: server.wake,
    held: () => held.size,
    close: () => {
      held.close()
      sweeper.stop()
    },
  }
}

type Lines = { text: string; count: number }

async function takeLines({ sql, vault, now }: Deps, hash: string): Promise<Lines | undefined> {
  const tasks = await takeTasks(sql, hash, now())
  return tasks && { text: tasks.map((task) => `${taskLine(vault, task)}\n`).join(''), count: tasks.length }
}

/** Gives a cluster's tasks to its held polls, the oldest first; whose credential ended meanwhile is refused, and gets nothing. */
function clusterServer(deps: Deps, held: HeldPolls) {
  const serving = new Map<string, { again: boolean }>()
  const woken = new Map<string, number>()
  let wakes = 0

  const round = async (clusterId: string) => {
    for (let poll = held.oldest(clusterId); poll; poll = held.oldest(clusterId)) {
      const lines = await takeLines(deps, poll.hash)
      if (!lines) poll.refuse(new AppError('credential_invalid'))
      else if (lines.text === '') return
      else poll.answer(lines.text)
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
  return {
    serve,
    wakes: () => wakes,
    /** A poll that was between its select and its place among the held ones would miss a wake. */
    wasWoken: (clusterId: string, since: number) => (woken.get(clusterId) ?? 0) > since,
    wake: (clusterId: string) => {
      if (woken.size >= 10_000) woken.clear()
      woken.set(clusterId, ++wakes)
      if (held.has(clusterId)) void serve(clusterId)
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
