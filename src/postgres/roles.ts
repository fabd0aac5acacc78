import { randomBytes } from 'node:crypto'
import type { Sql } from 'postgres'
import { scramVerifier } from './scram.ts'

/**
 * Makes our role and our database, and closes what PostgreSQL leaves open to everybody. Idempotent: a start that was cut off
 * goes on where it stopped. Needs a superuser's connection.
 */
export async function provision(sql: Sql, password: string): Promise<void> {
  const [have] = await sql<{ role: boolean; database: boolean }[]>`
    select exists (select from pg_roles where rolname = 'rollcall') as role,
      exists (select from pg_database where datname = 'rollcall') as database`
  if (!have?.role) {
    // No parameters in utility statements; the verifier is base64, `$` and `:` only.
    const verifier = scramVerifier(password, randomBytes(16))
    await sql.unsafe(`create role rollcall login createrole createdb password '${verifier}'`)
  }
  if (!have?.database) await sql.unsafe('create database rollcall owner rollcall')
  await sql.unsafe('revoke connect, temporary on database rollcall, postgres, template1 from public')
}
