import type { PendingQuery, Row, Sql, TransactionSql } from 'postgres'

/** `over`: ended, or its connection is gone. */
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
    if (life.over) return never()
    throw error
  }
}

/** The same statements, refused once the transaction is over; each tells `life` when it finds the connection gone. */
function guardScope(life: Life, tx: TransactionSql): TransactionSql {
  const alive = () => {
    if (life.over) throw Object.assign(new Error('the transaction is over'), { code: 'CONNECTION_CLOSED' })
  }
  const savepoint = async (...args: unknown[]) => {
    alive()
    const body = args.pop() as Body
    let refusal: unknown
    const run = (inner: TransactionSql) =>
      survive(life, body, inner).catch((error) => {
        refusal = error
        throw error
      })
    try {
      return await (tx.savepoint as (...args: unknown[]) => Promise<unknown>)(...args, run)
    } catch (error) {
      // What the body did not throw comes from SAVEPOINT or ROLLBACK TO, which are sent behind the scope's back.
      if (error !== refusal) noteLoss(life, error)
      throw error
    }
  }
  return new Proxy(tx, {
    apply: (target, self, args) => {
      alive()
      return watched(life, Reflect.apply(target as never, self, args))
    },
    get: (target, name, receiver) => {
      if (name === 'savepoint') return savepoint
      if (name === 'unsafe') {
        return (...args: Parameters<TransactionSql['unsafe']>) => {
          alive()
          return watched(life, target.unsafe(...args))
        }
      }
      return Reflect.get(target, name, receiver)
    },
  })
}

/** A query runs once somebody waits for it: `catch` would start it, so its own way to fail is looked at instead. */
function watched<T>(life: Life, made: T): T {
  if (!(made instanceof Promise)) return made
  const query = made as unknown as PendingQuery<Row[]> & { reject: (error: unknown) => void }
  const { reject } = query
  query.reject = (error) => {
    noteLoss(life, error)
    reject(error)
  }
  return made
}

const never = () => new Promise<never>(() => {})

// postgres.js' codes, the socket's, and those of its TLS.
const lost = /^(?:CONNECTION_\w+|CONNECT_TIMEOUT|E[A-Z]+|ERR_SSL_\w+)$/

/**
 * Only for what a statement of this transaction was rejected with: the body may fail with a like error of any other socket, e.g. of a
 * client that ended its upload, and then there is a connection that waits for its ROLLBACK.
 */
function noteLoss(life: Life, error: unknown): void {
  if (isConnectionLost(error)) life.over = true
}

/** Whether a statement was rejected because its connection is gone, or could not be made: Postgres ended it, or nobody is there. */
export function isConnectionLost(error: unknown): boolean {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown }
  if (severity === 'FATAL' || severity === 'PANIC') return true
  return severity === undefined && typeof code === 'string' && lost.test(code)
}
