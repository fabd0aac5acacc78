import { AppError } from '../errors.ts'
import { type BootstrapState, type Decision, type GateView, gate, type Progress } from '../k3s/gate.ts'

/** What the gate needs of the world; each step may be the last one of a process that dies. */
export type GatePorts = {
  now: () => number
  look: () => Promise<GateView>
  /** Takes or renews the asker's lease in one statement. @returns false if the cluster is no longer as seen */
  lease: (seen: GateView) => Promise<boolean>
  readBootstrap: () => Promise<BootstrapState>
  /** Takes the CA hash from the bootstrap row that was just read. */
  learn: () => Promise<void>
  /** When it returns, these enrollments write nothing any more. */
  fence: (enrollments: readonly string[]) => Promise<void>
  /** Gives fenced logins back if the cluster came up under the hands of who was fenced. */
  restore: (enrollments: readonly string[]) => Promise<void>
  /** Has the asker's former self removed from its cluster. */
  remove: () => Promise<void>
  /** Stops the cluster, if it is still as seen. */
  stick: (seen: GateView, reason: string) => Promise<void>
  /** Managed: the asker's own login, and the note of it that comes first, so that no login is ever unknown. */
  login?: {
    /** @returns false if it is no longer the asker's turn */
    note: () => Promise<boolean>
    make: () => Promise<void>
    /** Ends the asker's own login again. */
    end: () => Promise<void>
  }
  /** Marks the ticket redeemed, if the gate is still open. */
  mark: () => Promise<'marked' | 'taken' | 'ended' | 'shut'>
}

/** Looks at a cluster that one request may take: more of them means that it changes all the time. */
const mostLooks = 16

/**
 * Lets a server in when the gate opens: what was seen may have changed by the time it is let in, so the last word is the database's.
 * @param asker the device
 * @returns whether it makes the cluster or joins it
 * @throws AppError `cluster_not_ready` while it is not this server's turn, `already_redeemed`, `token_invalid`; what the ports throw
 */
export async function letIn(ports: GatePorts, asker: string): Promise<'init' | 'join'> {
  const start = await passGate(ports, asker)
  const { login } = ports
  if (login) {
    if (!(await login.note())) throw shut()
    await login.make()
  }
  const mark = await ports.mark()
  if (mark === 'marked') return start
  // The login is that of whoever redeemed first.
  if (mark === 'taken') throw secondKey()
  await login?.end()
  throw mark === 'ended' ? new AppError('token_invalid') : shut()
}

export const secondKey = () => new AppError('already_redeemed', { detail: 'another retry key redeemed this ticket' })

const shut = () =>
  new AppError('cluster_not_ready', { detail: 'the cluster changed meanwhile: ask again', retryAfter: 5 })

/** Does what the gate says until it opens. */
async function passGate(ports: GatePorts, asker: string): Promise<'init' | 'join'> {
  const walk: Walk = { progress: { bootstrap: undefined, leased: false }, fenced: [] }
  for (let look = 0; look < mostLooks; look++) {
    const view = await ports.look()
    const decision = gate(view, asker, ports.now(), walk.progress)
    if (decision.do === 'go') return decision.start
    if (decision.do === 'wait')
      throw new AppError('cluster_not_ready', { detail: decision.why, retryAfter: decision.seconds })
    await step(ports, view, decision, walk)
  }
  throw new AppError('busy', { detail: 'the cluster changes all the time', retryAfter: 5 })
}

type Walk = { progress: Progress; fenced: string[] }
type Step = Exclude<Decision, { do: 'go' | 'wait' }>

async function step(ports: GatePorts, view: GateView, decision: Step, { progress, fenced }: Walk): Promise<void> {
  switch (decision.do) {
    case 'lease':
      progress.leased = await ports.lease(view)
      return
    case 'read':
      progress.bootstrap = await ports.readBootstrap()
      return
    case 'learn':
      await ports.learn()
      if (fenced.length > 0) await ports.restore(fenced.splice(0))
      return
    case 'fence':
      await ports.fence(decision.enrollments)
      fenced.push(...decision.enrollments)
      progress.bootstrap = undefined
      return
    case 'remove':
      return ports.remove()
    default:
      return ports.stick(view, decision.reason)
  }
}
