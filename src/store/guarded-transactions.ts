import type { Sql, TransactionSql } from 'postgres'

type Life = { over: boolean }
type Body = (tx: TransactionSql) => unknown

/**
 * Makes a client's transactions survive the loss of their connection. postgres.js 3.4.9 answers it with a ROLLBACK of its own on
 * the socket that is gone, which throws where nobody can catch it and ends the process; a statement that comes later still may run
 * on the next connection, outside of any transaction (porsager/postgres issues 1154, 1208, 1216). Here a body that lost its
 * connection never settles: `begin` itself has been rejected by then, so nothing waits for it, and nothing is written any more.
 */
export function guardTransactions(client: Sql): Sql {
  const begin = client.begin.bind(client) as (...args: unknown[]) => Promise<unknown>
  const guarded = async (...args: unknown[]) => {
    const body = args.pop() as Body
    const life: Life = { over: false }
    try {
      return await begin(...args, (tx: TransactionSql) => survive(life, body, tx))
    } finally {
      life.over = true
    }
  }
  return Object.assign(client, { begin: guarded as Sql['begin'] })
}

async function survive(life: Life, body: Body, tx: TransactionSql): Promise<unknown> {
  try {
    const result = await body(guardScope(life, tx))
    const settled = Array.isArray(result) ? await Promise.all(result) : result
    return life.over ? await never() : settled
  } catch (error) {
    if (life.over || isLoss(error)) return never()
    throw error
  }
}

/** The same statements, refused once the transaction is over. */
function guardScope(life: Life, tx: TransactionSql): TransactionSql {
  const alive = () => {
    if (life.over) throw Object.assign(new Error('the transaction is over'), { code: 'CONNECTION_CLOSED' })
  }
  return new Proxy(tx, {
    apply: (target, self, args) => {
      alive()
      return Reflect.apply(target as never, self, args)
    },
    get: (target, name, receiver) => {
      if (name === 'savepoint') {
        return (...args: unknown[]) => {
          alive()
          const body = args.pop() as Body
          const savepoint = target.savepoint as (...args: unknown[]) => Promise<unknown>
          return savepoint(...args, (inner: TransactionSql) => survive(life, body, inner))
        }
      }
      if (name === 'unsafe') {
        return (...args: Parameters<TransactionSql['unsafe']>) => {
          alive()
          return target.unsafe(...args)
        }
      }
      return Reflect.get(target, name, receiver)
    },
  })
}

const never = () => new Promise<never>(() => {})

const lost = /^(?:CONNECTION_\w+|CONNECT_TIMEOUT|E[A-Z]+|08\w{3}|57P0[1-5]|25P0[34])$/

/** Whether the connection is gone: by postgres.js' codes, the socket's, or because Postgres said that it ends it. */
function isLoss(thrown: unknown): boolean {
  for (let error = thrown, depth = 0; error instanceof Error && depth < 8; error = error.cause, depth++) {
    const { code, severity } = error as { code?: unknown; severity?: unknown }
    if (severity === 'FATAL' || severity === 'PANIC') return true
    if (typeof code === 'string' && lost.test(code)) return true
  }
  return false
}
