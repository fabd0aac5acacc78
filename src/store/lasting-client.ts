import type { PendingQuery, Row, Sql } from 'postgres'

/**
 * A client that is replaced once a connection of it cannot be made in time. A connection of postgres.js 3.4.9 that closed while a
 * write was pending keeps the stale bytes and never sends again, so every later attempt ends in CONNECT_TIMEOUT, for ever
 * (porsager/postgres pull 1215): after a restart of Postgres under load, that hits a few of each pool.
 * @param make opens a client; called again for each replacement. What still runs on the old one has `grace` seconds.
 */
export function lastingClient(make: () => Sql, grace = 30): Sql {
  let current = make()
  const lookAt = (client: Sql, error: unknown) => {
    if ((error as { code?: unknown } | null)?.code !== 'CONNECT_TIMEOUT' || client !== current) return
    current = make()
    void client.end({ timeout: grace }).catch(() => {})
  }
  const watched = <T>(client: Sql, made: T): T => {
    if (!(made instanceof Promise)) return made
    // A query runs once somebody waits for it: `catch` would start it, so its own way to fail is looked at instead.
    const query = made as unknown as PendingQuery<Row[]> & { reject: (error: unknown) => void }
    const { reject } = query
    query.reject = (error) => {
      lookAt(client, error)
      reject(error)
    }
    return made
  }
  return new Proxy(current, {
    apply: (_, self, args) => watched(current, Reflect.apply(current as never, self, args)),
    get: (_, name) => {
      const client = current
      if (name === 'unsafe') return (...args: Parameters<Sql['unsafe']>) => watched(client, client.unsafe(...args))
      if (name !== 'begin') return Reflect.get(client, name, client)
      return async (...args: unknown[]) => {
        try {
          return await (client.begin as (...args: unknown[]) => Promise<unknown>)(...args)
        } catch (error) {
          lookAt(client, error)
          throw error
        }
      }
    },
  })
}
