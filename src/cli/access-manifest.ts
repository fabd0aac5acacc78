import { parseArgs } from 'node:util'
import { accessManifest } from '../k3s/access-manifest.ts'
import { type Io, UsageError } from './command.ts'

/** `rollcall cluster access-manifest`: prints what lets this server into a cluster that it did not make. */
export function printAccessManifest(args: readonly string[], io: Io): number {
  io.out(accessManifest({ bans: wantsBans(args) }).trimEnd())
  return 0
}

function wantsBans(args: readonly string[]): boolean {
  try {
    const options = { 'with-bans': { type: 'boolean' } } as const
    return parseArgs({ args: [...args], options }).values['with-bans'] ?? false
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}
