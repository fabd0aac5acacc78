import type { Command } from './command.ts'
import { endSignal } from './end-signal.ts'
import { readFlags } from './flags.ts'
import { openOwnPostgres } from './open-store.ts'

/** `rollcall postgres`: the embedded PostgreSQL as a process of its own, until SIGTERM or SIGINT. */
export const postgres: Command = async (args, io) => {
  const { config } = readFlags(args, io)
  if (config.databaseUrl !== undefined) throw new Error('DATABASE_URL is set: the embedded PostgreSQL is not used')
  const end = endSignal()
  const say = (message: string) => io.err(`rollcall: ${message}`)
  say('THE EMBEDDED POSTGRESQL RUNS ON THIS ONE MACHINE AND IS NOT HIGHLY AVAILABLE: back it up, or set DATABASE_URL')
  const server = await openOwnPostgres(config, 'unit', say)
  const { pid, port } = server.postmaster()
  say(`PostgreSQL ${server.started ? 'runs' : 'was running and is looked after now'} (process ${pid}, port ${port})`)
  // Keeps the process alive: the supervisor's own timers do not.
  const alive = setInterval(() => {}, 3_600_000)
  await end.first
  clearInterval(alive)
  await server.close()
  return 0
}
