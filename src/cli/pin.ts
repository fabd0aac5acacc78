import type { Command } from './command.ts'
import { pinsOf } from './credentials.ts'
import { readFlags } from './flags.ts'
import { openStore } from './open-store.ts'

/** `rollcall pin`: prints what devices pin, for curl's `--pinnedpubkey`. */
export const pin: Command = async (args, io) => {
  const { config } = readFlags(args, io)
  const store = await openStore(config, (message) => io.err(`rollcall: ${message}`))
  try {
    io.out(pinsOf(config, store.tls))
    return 0
  } finally {
    await store.close()
  }
}
