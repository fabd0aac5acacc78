import { bootstrapName } from '../k3s/bootstrap.ts'
import {
  knownIds,
  type Memory,
  mark,
  noMemory,
  type ObservedNode,
  shown,
  since,
  takeList,
  takeNews,
} from './cluster-memory.ts'
import { type KineRead, readKine } from './guard.ts'
import { type LookRow, listQuery, mostNews, mostRows, newsQuery } from './kine-look.ts'
import type { Bootstrap } from './managed.ts'
import type { Observer } from './observer.ts'

export type Observation = {
  nodes: ObservedNode[]
  /** False: there are more, which another look will show, or which no look shows */
  complete: boolean
  tooMany: boolean
  /** `value` is there only when the row was not seen before */
  bootstrap: Bootstrap
}

export type Looked = ({ kind: 'seen' } & Observation) | { kind: 'tampered' | 'late'; what: string }

type Rows =
  | Exclude<KineRead<LookRow>, { kind: 'rows' | 'absent' }>
  | { kind: 'list' | 'news'; rows: readonly LookRow[] }

/**
 * Looks at a managed cluster once: for what is new since the last look, or, at first, every few minutes and after anything went wrong, at all of it.
 * @param memory changed by it
 * @param now Unix seconds
 * @throws what Postgres says when it is away, full, or not set up
 */
export async function look(
  observer: Observer,
  clusterId: string,
  serverToken: string,
  memory: Memory,
  now: number,
): Promise<Looked> {
  const read =
    (await news(observer, clusterId, serverToken, memory, now)) ??
    (await list(observer, clusterId, serverToken, memory))
  if (read.kind === 'tampered' || read.kind === 'late') {
    memory.marks = []
    return read
  }
  const { kind, rows } = read
  const bootstrap = bootstrapName(serverToken)
  const tooMany = kind === 'list' && rows.length >= mostRows
  const hadRoom = (kind === 'list' ? takeList : takeNews)(memory, rows, bootstrap, now)
  const complete = hadRoom && !tooMany
  mark(memory, rows, complete, now)
  const value = rows.findLast(({ name }) => name === bootstrap)?.value
  return {
    kind: 'seen',
    nodes: shown(memory, now),
    complete,
    tooMany,
    bootstrap: { state: memory.bootstrap.state, value: value ? Buffer.from(value, 'base64') : undefined },
  }
}

/** @returns undefined where that does not tell all: there is too much, or the last row that was seen is gone, and then nothing is known of this table */
async function news(
  observer: Observer,
  clusterId: string,
  serverToken: string,
  memory: Memory,
  now: number,
): Promise<Rows | undefined> {
  const from = since(memory, now)
  if (!from) return undefined
  const read = await readKine<LookRow>(observer, clusterId, newsQuery(serverToken, knownIds(memory), from))
  if (read.kind === 'absent') return undefined
  if (read.kind !== 'rows') return read
  if (read.rows.length >= mostNews) return undefined
  if (read.rows.some(({ id }) => id === from.anchor)) return { kind: 'news', rows: read.rows }
  Object.assign(memory, noMemory())
  return undefined
}

async function list(observer: Observer, clusterId: string, serverToken: string, memory: Memory): Promise<Rows> {
  const read = await readKine<LookRow>(observer, clusterId, listQuery(serverToken, knownIds(memory)))
  if (read.kind === 'absent') return { kind: 'list', rows: [] }
  return read.kind === 'rows' ? { kind: 'list', rows: read.rows } : read
}
