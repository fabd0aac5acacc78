import type { Sql } from 'postgres'
import { makeReader, readerBody, readerStatement } from './reader.ts'
import { readersSchema } from './reader-names.ts'

/** Milliseconds for all readers that are missing, and for what a node holds of one cluster. */
const patience = { all: 10_000, one: 250 } as const

/** Times that a reader is tried to be made. */
const rounds = 3

/** Where an earlier release kept the guard. */
const formerGuard = `${readersSchema}.guard(text, text)`

/**
 * Has the readers of an earlier release call the guard where it is now, and only then closes their schema to PUBLIC: a reader that does not get at its guard
 * looks like a table that may not be read. Nothing here is a cluster's, so no node can be in its way.
 * @param sql our own role in the clusters' database, alone at it
 */
export async function renewReaders(sql: Sql): Promise<void> {
  const former = await sql<{ owner: string }[]>`
    select p.proname as owner from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname = ${readersSchema} and p.proname ~ '^k3s_[0-9a-hjkmnp-tv-z]{26}$'
      and p.oid = to_regprocedure(format('%I.%I(text)', nspname, proname))
      and p.prosrc <> format(${readerBody('%s')}::text, proname)`
  for (const { owner } of former) await sql.unsafe(readerStatement(owner))
  const [state] = await sql<{ open: boolean; guard: boolean }[]>`
    select has_schema_privilege('public', ${readersSchema}, 'usage') as open, to_regprocedure(${formerGuard}) is not null as guard`
  if (state?.open) await sql.unsafe(`revoke usage on schema ${readersSchema} from public`)
  // A node may have built something on it while it could: then it stays, where nobody gets at it.
  if (state?.guard) await sql.unsafe(`drop function if exists ${formerGuard}`).catch(forgive)
}

/**
 * Makes the readers of those clusters that have none, or one that is asked in another way. Whatever a cluster's servers do to its schema meanwhile is no
 * reason not to start: after some tries, or when the time is up, a cluster is left out. It shows as one whose reader is missing, until the next start.
 * @param sql our own role in the clusters' database, alone at it
 */
export async function completeReaders(sql: Sql): Promise<void> {
  const deadline = Date.now() + patience.all
  for (let round = 0; round < rounds; round++) {
    for (const id of await without(sql)) {
      if (Date.now() > deadline) return
      await sql
        .begin(async (tx) => {
          await tx.unsafe(`set local lock_timeout = ${patience.one}`)
          await makeReader(tx, `clu_${id}`)
        })
        .catch(forgive)
    }
  }
}

// By turns of chance: none stands behind the same ones at each start.
async function without(sql: Sql): Promise<string[]> {
  const found = await sql<{ id: string }[]>`
    select substr(nspname, 5) as id from pg_namespace
    where nspname ~ '^k3s_[0-9a-hjkmnp-tv-z]{26}$' and pg_get_userbyid(nspowner) = nspname
      and to_regprocedure(format('%I.%I(text)', ${readersSchema}::text, nspname)) is null
    order by random()`
  return found.map(({ id }) => id)
}

/** Takes what Postgres refused; not that it is away. */
function forgive(error: unknown): void {
  if ((error as { severity?: string } | undefined)?.severity !== 'ERROR') throw error
}
