import { redacted } from '../config-redacted.ts'
import type { Command } from './command.ts'
import { readFlags } from './flags.ts'

/** `rollcall config`: prints what flags, environment and defaults come to, without secrets. */
export const config: Command = async (args, io) => {
  io.out(JSON.stringify(redacted(readFlags(args, io).config), null, 2))
  return 0
}
