import type { Datastore } from './cluster.ts'

/** What a cluster is believed to be when somebody says its CA hash. */
export type CaHashView = {
  state: 'virgin' | 'initializing' | 'up' | 'stuck' | 'compromised'
  datastore: Datastore['kind']
  /** Managed: what its bootstrap row was last seen to be */
  bootstrap: string | null
  caHash: string | null
  /** `admin`, `datastore`, or the device that said it first */
  caHashFrom: string | null
  confirmed: boolean
  /** The device that goes first */
  initializer: string | null
  stuckReason: string | null
}

/** Who says it: the cluster's own rows, or a server of the cluster. */
export type CaHashWord = { caHash: string; from: 'datastore' | { deviceId: string } }

export type CaHashVerdict =
  /** Nothing new. */
  | { kind: 'known' }
  /** Said by a server that cannot know it: it is not the one that goes first. */
  | { kind: 'unheard' }
  /** The first word. `up`: the cluster is up with it. */
  | { kind: 'learned'; from: string; up: boolean }
  /** A second source said the same. `up`: that is what was missing. */
  | { kind: 'confirmed'; up: boolean }
  /** Another hash than before; `stuck` is false for a compromised cluster, which stays that. */
  | { kind: 'differs'; reason: string; stuck: boolean }

/**
 * Judges what is said of a cluster's CA hash (PROTOCOL.md, "Tasks and nodes"). The first word counts, a second source confirms it, and another
 * hash stops the line: the roll cannot know who lies, a server or the one that was first, so a person decides. It does so once, however often it is said.
 */
export function judgeCaHash(view: CaHashView, word: CaHashWord): CaHashVerdict {
  const from = word.from === 'datastore' ? 'datastore' : word.from.deviceId
  if (view.caHash === null) return firstWord(view, from)
  if (view.caHash !== word.caHash) return otherWord(view, word.caHash, from)
  const up = comesUp(view, from)
  if (!up && (view.confirmed || from === view.caHashFrom)) return { kind: 'known' }
  return { kind: 'confirmed', up }
}

function firstWord(view: CaHashView, from: string): CaHashVerdict {
  // Until the first server is up nobody else can have seen its CA.
  if (from !== 'datastore' && view.initializer !== null && view.initializer !== from) return { kind: 'unheard' }
  return { kind: 'learned', from, up: comesUp(view, from) }
}

// A cluster that is stuck over its CA hash stays so until a person looked; one that waited too long for its first server is helped by its word.
function comesUp(view: CaHashView, from: string): boolean {
  const waits = view.state === 'virgin' || view.state === 'initializing' || (view.state === 'stuck' && !view.caHash)
  return waits && (view.datastore !== 'managed' || from === 'datastore' || view.bootstrap === 'ready')
}

function otherWord(view: CaHashView, caHash: string, from: string): CaHashVerdict {
  if (view.stuckReason !== null) return { kind: 'known' }
  const reason = `${dispute}: ${view.caHash} by ${teller(view.caHashFrom)}, and now ${caHash} by ${teller(from)}; no server or agent is let in until an admin says which is true (verb rotated)`
  return { kind: 'differs', reason, stuck: view.state !== 'compromised' }
}

const dispute = 'two CA hashes'

/** Whether a cluster is stuck over its CA hash, which only an admin's word ends. */
export const isDispute = (stuckReason: string | null): boolean => stuckReason?.startsWith(`${dispute}: `) ?? false

function teller(from: string | null): string {
  if (from === null || from === 'admin') return 'an admin'
  return from === 'datastore' ? "the cluster's datastore" : `its server ${from}`
}
