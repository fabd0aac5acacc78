import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from 'postgres'
import { backToStanding, beginning, endingSessions, forbidding, learning, looking, standing } from './lock-watch-sql.ts'

/** Times that a login is tried to be ended in one look, and milliseconds between them: for as long as its sessions take to go. */
const attempts = 40
const between = 5

/** Looks from one session until the other begins anew and takes over: half a minute. To begin costs as much as a hundred looks. */
const looksEach = 120

/** Looks after which the elder of them hears of new logins, too, and of not being idle. */
const elderLearnsEach = 8

/** Milliseconds for a session that does not answer, which keeps nobody waiting longer. */
const learningTakes = 1_000

/**
 * Who held more locks than K3s ever does, or wanted a catalog for himself, and was ended for it: a node's login, or one session of the observer's, by its process. A cluster's code
 * made that one do it; whose, the observer finds out, which reads each again by itself. `alone`: it wanted a catalog for itself, however few locks it had.
 */
export type Hoarder = { role: string; locks: number; process: number | null; alone: boolean }

export type LockWatch = {
  /**
   * Looks at who holds Postgres' locks, and ends each login that holds too many, with its sessions; of the observer's, the session alone.
   * @throws what Postgres says
   */
  look: () => Promise<Hoarder[]>
  /** Has the sessions that stand know the logins that were made: while the lock table is full they hear of none. Never throws, and takes a second at most. */
  learn: () => Promise<void>
  close: () => Promise<void>
}

/** `stands`: in a transaction that holds what a look needs. `last`: what it was last sent. */
type Post = { sql: Sql; stands: boolean; last: Promise<unknown> }

/** `waits`: somebody waits for a part of the catalog that all who stand have to let go of. */
type Seen = { hoarders: Hoarder[]; waits: boolean }

/**
 * Keeps Postgres' lock table from being filled by a node, or by its code in a session of ours. It is shared by all databases, PostgreSQL knows no
 * limit for a role, and whoever fills it keeps everybody from writing, logging in and being fenced (53200). So who watches must need nothing of it: a session in a
 * transaction that holds the catalog needs no lock to look, nor to end sessions. Two sessions take
 * turns, so that one always stands while the other one begins anew, to stay young.
 * @param connect opens a client with one connection of our own role in the clusters' database, which does not end it for being idle, nor waits long for locks
 */
export function openLockWatch(connect: () => Sql): LockWatch {
  const open = (): Post => ({ sql: connect(), stands: false, last: Promise.resolve() })
  let turn: [Post, Post] = [open(), open()]
  let looks = 0
  const begin = async (post: Post, other: Post): Promise<Seen> => {
    looks = 0
    turn = [other, post]
    const seen = await stand(post)
    await endAll(post, other, seen.hoarders)
    return seen
  }
  return {
    look: async () => {
      const [elder, younger] = turn
      if (looks++ % elderLearnsEach === 0) await learn(elder)
      const seen = (await lookFrom(younger, elder)) ?? (await lookFrom(elder, younger))
      if (seen?.waits) {
        await Promise.all(turn.map(letGo))
        return seen.hoarders
      }
      const due = [younger, elder].find(({ stands }) => !stands) ?? (looks < looksEach ? undefined : elder)
      const begun = due && (await begin(due, due === elder ? younger : elder).catch((error: unknown) => ({ error })))
      if (begun && !('error' in begun)) return distinct([...(seen?.hoarders ?? []), ...begun.hoarders])
      // Who was found must be told of now: his login is ended, and no later look finds him.
      if (seen) return seen.hoarders
      throw begun?.error ?? new Error('no session that stands can look')
    },
    learn: async () => {
      await Promise.race([Promise.all(turn.map(learn)), sleep(learningTakes, undefined, { ref: false })])
    },
    close: async () => {
      await Promise.all(turn.map(({ sql }) => sql.end({ timeout: 1 })))
    },
  }
}

/** One thing after the other: an answer that is late says nothing of a transaction that was begun since. */
function inTurn<T>(post: Post, work: () => Promise<T>): Promise<T> {
  const result = post.last.then(work)
  post.last = result.catch(() => {})
  return result
}

async function learn(post: Post): Promise<void> {
  if (post.stands) await asked(post, learning).catch(() => {})
}

async function lookFrom(post: Post, other: Post): Promise<Seen | undefined> {
  if (!post.stands) return undefined
  const seen = await asked(post, `${learning}; ${looking}`)
    .catch(() => asked(post, looking))
    .catch(() => undefined)
  if (seen) await endAll(post, other, seen.hoarders)
  return seen
}

const stand = (post: Post): Promise<Seen> =>
  inTurn(post, async () => {
    post.stands = false
    const seen = await sent(post, beginning)
    await sent(post, standing)
    post.stands = true
    return seen
  })

/** What fails takes nothing from what a session holds that stands. */
const asked = (post: Post, statements: string): Promise<Seen> =>
  inTurn(post, async () => {
    try {
      return await sent(post, statements)
    } catch (error) {
      post.stands = await sent(post, backToStanding).then(
        () => true,
        () => false,
      )
      throw error
    }
  })

const letGo = (post: Post): Promise<void> =>
  inTurn(post, async () => {
    post.stands = false
    await sent(post, 'rollback').catch(() => {})
  })

/** @returns the rows of the last statement */
async function sent({ sql }: Post, statements: string): Promise<Seen> {
  const results = (await sql.unsafe(statements)) as unknown as (Hoarder | { role: null })[][]
  const rows = [...(results.at(-1) ?? [])]
  return {
    hoarders: rows.filter((row): row is Hoarder => row.role !== null),
    waits: rows.some((row) => row.role === null),
  }
}

const distinct = (all: readonly Hoarder[]): Hoarder[] => [
  ...new Map(all.map((one) => [`${one.role} ${one.process}`, one])).values(),
]

// What does not come to its end here is not lost: whoever hears of a hoarder goes on until its login is ended (services/lock-watch.ts).
async function endAll(post: Post, other: Post, hoarders: readonly Hoarder[]): Promise<void> {
  for (const { role, process } of hoarders) {
    const ended = process === null ? endHoarder(post, other, role) : endSessions(post, role, process)
    await ended.catch(() => {})
  }
}

// To forbid a login takes locks as well. There are some between the end of its sessions and the moment when it has come back
// and filled the table again; a session that is connected already is faster than one that has to log in.
async function endHoarder(post: Post, other: Post, role: string): Promise<void> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    await endSessions(post, role)
    await sleep(between)
    if (await forbid(other, role)) return endSessions(post, role)
  }
}

async function endSessions(post: Post, role: string, process?: number): Promise<void> {
  await asked(post, endingSessions(role, process))
}

const forbid = (post: Post, role: string): Promise<boolean> =>
  inTurn(post, async () => {
    post.stands = false
    return sent(post, forbidding(role)).then(
      () => true,
      () => false,
    )
  })
