import { type BootstrapName, bootstrapName } from '../k3s/bootstrap.ts'
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
import { type KineRead, readKine, readKines } from './guard.ts'
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

/** A cluster that is looked at. `memory` is changed by it. */
export type Subject = { clusterId: string; bootstrap: BootstrapName; memory: Memory }

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
  const [looked] = await lookAtAll(observer, [{ clusterId, bootstrap: bootstrapName(serverToken), memory }], now)
  return looked as Looked
}

/** Looks at several, those of which news may be enough. */
export async function lookAtAll(observer: Observer, subjects: readonly Subject[], now: number): Promise<Looked[]> {
  const recent = await news(observer, subjects, now)
  const all: Looked[] = []
  for (const subject of subjects) all.push(take(subject, recent.get(subject) ?? (await list(observer, subject)), now))
  return all
}

/** Whether news may be enough for the next look. */
export const isFollowed = (memory: Memory, now: number): boolean => since(memory, now) !== undefined

function take({ bootstrap, memory }: Subject, read: Rows, now: number): Looked {
  if (read.kind === 'tampered' || read.kind === 'late') {
    memory.marks = []
    return read
  }
  const { kind, rows } = read
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

/** @returns nothing of those where that does not tell all: there is too much, or the last row that was seen is gone, and then nothing is known of this table */
async function news(observer: Observer, subjects: readonly Subject[], now: number): Promise<Map<Subject, Rows>> {
  const asked = subjects.flatMap((subject) => {
    const from = since(subject.memory, now)
    return from ? [{ subject, from }] : []
  })
  const reads = await readKines<LookRow>(
    observer,
    asked.map(({ subject: { clusterId, bootstrap, memory }, from }) => ({
      clusterId,
      query: newsQuery(bootstrap, knownIds(memory), from),
    })),
  )
  const found = new Map<Subject, Rows>()
  for (const [i, { subject, from }] of asked.entries()) {
    const rows = newsIn(subject, reads[i] as KineRead<LookRow>, from.anchor)
    if (rows) found.set(subject, rows)
  }
  return found
}

function newsIn({ memory }: Subject, read: KineRead<LookRow>, anchor: string): Rows | undefined {
  if (read.kind === 'absent') return undefined
  if (read.kind !== 'rows') return read
  if (read.rows.length >= mostNews) return undefined
  if (read.rows.some(({ id }) => id === anchor)) return { kind: 'news', rows: read.rows }
  Object.assign(memory, noMemory())
  return undefined
}

async function list(observer: Observer, { clusterId, bootstrap, memory }: Subject): Promise<Rows> {
  const read = await readKine<LookRow>(observer, clusterId, listQuery(bootstrap, knownIds(memory)))
  if (read.kind === 'absent') return { kind: 'list', rows: [] }
  return read.kind === 'rows' ? { kind: 'list', rows: read.rows } : read
}
