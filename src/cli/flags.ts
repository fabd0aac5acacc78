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

/**
 * The same for a command that also takes words.
 * @param names what the words are, for usage; each must be given
 * @throws UsageError, ConfigError
 */
export function readCommand<T extends Extra>(
  args: readonly string[],
  { env }: Io,
  extra: T,
  names: readonly string[],
): { config: Config; values: Values<T>; positionals: string[] } {
  const { values, positionals } = parseWords(args, extra)
  if (positionals.length !== names.length) throw new UsageError(`give ${names.join(' and ') || 'flags alone'}`)
  const given = values as Record<string, string | undefined>
  const flags = Object.fromEntries(Object.keys(configFlags).map((name) => [name, given[name]]))
  return { config: loadConfig({ flags, env, root: process.getuid?.() === 0 }), values, positionals }
}

type Values<T extends Extra> = ReturnType<typeof parseArgs<{ options: T }>>['values']

function parseWords<T extends Extra>(args: readonly string[], extra: T): { values: Values<T>; positionals: string[] } {
  try {
    const options = { ...configFlags, ...extra }
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: true }) as never
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
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
