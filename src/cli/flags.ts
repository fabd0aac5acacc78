import { type ParseArgsConfig, parseArgs } from 'node:util'
import { type Config, configFlags, loadConfig } from '../config.ts'
import { type Io, UsageError } from './command.ts'

type Extra = NonNullable<ParseArgsConfig['options']>

/**
 * Reads a command's flags and the configuration.
 * @param extra flags of this command alone
 * @throws UsageError, ConfigError
 */
export function readFlags(
  args: readonly string[],
  { env }: Io,
  extra: Extra = {},
): { config: Config; values: Record<string, string | undefined> } {
  const values = parse(args, extra)
  const flags = Object.fromEntries(Object.keys(configFlags).map((name) => [name, values[name]]))
  return { config: loadConfig({ flags, env, root: process.getuid?.() === 0 }), values }
}

function parse(args: readonly string[], extra: Extra): Record<string, string | undefined> {
  try {
    const options = { ...configFlags, ...extra }
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values as Record<
      string,
      string
    >
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}
