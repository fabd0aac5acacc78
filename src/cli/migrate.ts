import type { Command } from './command.ts'
import { readFlags } from './flags.ts'
import { openStore } from './open-store.ts'

/** `rollcall migrate`: brings the schema up to date without serving, e.g. before a rolling upgrade. */
export const migrate: Command = async (args, io) => {
  const { config } = readFlags(args, io)
  const store = await openStore(config, (message) => io.err(`rollcall: ${message}`))
  await store.close()
  io.err('rollcall: the schema is up to date')
  return 0
}
