import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpBindings } from '@hono/node-server'
import type { MiddlewareHandler } from 'hono'

/**
 * Answers a request before router and middlewares, or leaves it to the application: at once by saying false, or later by `pass`.
 * `pass` takes what was thrown, which the application then answers as it answers whatever is thrown.
 */
export type Shortcut = (incoming: IncomingMessage, outgoing: ServerResponse, pass: Pass) => boolean
export type Pass = (thrown: unknown) => void

/** Tries them in turn. */
export const firstOf =
  (...shortcuts: Shortcut[]): Shortcut =>
  (incoming, outgoing, pass) =>
    shortcuts.some((shortcut) => shortcut(incoming, outgoing, pass))

const thrownBefore = new WeakMap<IncomingMessage, unknown>()

/** Notes what a shortcut threw, for `rethrown`. */
export function noteThrown(incoming: IncomingMessage, thrown: unknown): void {
  thrownBefore.set(incoming, thrown)
}

/** Throws what a shortcut threw: problems have one form, and the application writes it. */
export const rethrown: MiddlewareHandler = async (c, next) => {
  const { incoming } = (c.env ?? {}) as Partial<HttpBindings>
  if (incoming && thrownBefore.has(incoming as IncomingMessage)) throw thrownBefore.get(incoming as IncomingMessage)
  await next()
}
