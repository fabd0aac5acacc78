import type { HttpBindings } from '@hono/node-server'
import type { Context } from 'hono'

/** Milliseconds in which a client must have taken something of a long answer; Node may wait for twice as long, since writes under way count as progress. */
export const usualPatience = 120_000

/** Ends a connection whose client takes nothing of its answer any more: what is kept for it would be kept for ever. */
export function cutIfStalled(c: Context, patience = usualPatience): void {
  // Nothing without a socket.
  const { outgoing } = (c.env ?? {}) as Partial<HttpBindings>
  outgoing?.setTimeout(patience, () => outgoing.destroy())
}
