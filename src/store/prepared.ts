import type { SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import type { RowList, Sql } from 'postgres'
import type { Drizzle } from './database.ts'

const dialect = new PgDialect()

/**
 * Executes what a transaction says again and again. Drizzle prepares nothing that was written by hand: Postgres then parses and plans it each
 * time, and postgres.js sends it in two steps, with nothing else on the connection until both were answered. What is prepared is sent
 * behind whatever still runs.
 * For statements that can be planned in one way only: the plan stays as the tables grow, and while they are empty every index seems as good.
 */
export async function executePrepared<T extends object>(tx: Drizzle, query: SQL): Promise<RowList<T[]>> {
  const { sql, params } = dialect.sqlToQuery(query)
  // Drizzle's own client of this transaction, which it does not show.
  const { client } = (tx as unknown as { session: { client: Sql } }).session
  return client.unsafe<T[]>(sql, params as never[], { prepare: true })
}
