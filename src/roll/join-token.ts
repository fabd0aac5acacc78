import { patience } from './deadline.ts'

/** An agent's join token whose time is nearly up. Times are Unix seconds. */
export type JoinToken = {
  /** Its enrollment */
  createdAt: number
  ended: boolean
  joined: boolean
  expiresAt: number
  /** Seconds that its profile gives a join token */
  ttl: number
  /** Its secret is still here: a cluster that was made anew has no use for it. */
  known: boolean
  /** When the device last reported a step */
  lastStepAt: number | null
}

export type JoinTokenStep = { do: 'delete'; why: 'joined' | 'ended' | 'expired' } | { do: 'renew'; until: number }

/** Seconds before its end from which on a token is renewed, at most. */
export const renewBefore = 900
/** Seconds that a token may live in all. PROTOCOL.md, "Redeem". */
const longest = 86_400

/**
 * What becomes of a join token: it dies with the join, with its enrollment, or when its time is up; while its device reports and has not
 * joined, it is given more time.
 */
export function stepOf(token: JoinToken, now: number): JoinTokenStep | undefined {
  if (token.ended) return { do: 'delete', why: 'ended' }
  if (token.joined) return { do: 'delete', why: 'joined' }
  const until = Math.min(now + token.ttl, token.createdAt + longest)
  const isDue = token.expiresAt - now <= Math.min(renewBefore, token.ttl / 4)
  if (isDue && isUnderWay(token, now) && until > Math.max(token.expiresAt, now)) return { do: 'renew', until }
  return token.expiresAt <= now ? { do: 'delete', why: 'expired' } : undefined
}

// As long as a device may be silent before it counts as stuck: K3s waits for its token without a word.
const isUnderWay = ({ known, lastStepAt }: JoinToken, now: number) =>
  known && lastStepAt !== null && now - lastStepAt <= (patience.installing as number)
