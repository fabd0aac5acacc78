#!/usr/bin/env node
import { type Command, UsageError } from './cli/command.ts'
import { keepHeapSmall } from './cli/heap.ts'
import { usageText } from './cli/usage.ts'
import { ConfigError } from './config.ts'

const common = '[--data-dir D] [--database-url U]'

/** Loaded when asked for: `rollcall config` needs no database driver. */
const commands: Record<string, { usage: readonly string[]; load: () => Promise<Command> }> = {
  serve: {
    usage: ['serve [--data-dir D] [--host H] [--https-port N] [--http-port N] [--database-url U]'],
    load: async () => {
      keepHeapSmall()
      return (await import('./cli/serve.ts')).serve
    },
  },
  demo: { usage: ['demo [--once]'], load: async () => (await import('./cli/demo.ts')).demo },
  token: {
    usage: [`token create --name N --scope read|write|admin [--expires 30d] ${common}`],
    load: async () => (await import('./cli/token.ts')).token,
  },
  pin: { usage: [`pin ${common}`], load: async () => (await import('./cli/pin.ts')).pin },
  config: { usage: ['config [any flag of serve]'], load: async () => (await import('./cli/config.ts')).config },
  migrate: { usage: [`migrate ${common}`], load: async () => (await import('./cli/migrate.ts')).migrate },
  postgres: { usage: ['postgres [--data-dir D]'], load: async () => (await import('./cli/postgres.ts')).postgres },
  doctor: {
    usage: [
      `doctor datastore --cluster NAME ${common}`,
      'doctor datastore --kind postgres|mysql|etcd [--cafile F] [--certfile F] [--keyfile F] <ENDPOINT',
    ],
    load: async () => (await import('./cli/doctor.ts')).doctor,
  },
  versions: {
    usage: [
      `versions add VERSION [--from URL|DIR] [--script URL|FILE] [--arch amd64,arm64,arm] [--yes] ${common}`,
      `versions list ${common}`,
    ],
    load: async () => (await import('./cli/versions.ts')).versions,
  },
  mirror: {
    usage: [
      `mirror add VERSION [--from URL|DIR] [--script URL|FILE] [--arch LIST] [--no-images] [--yes] ${common}`,
      `mirror add-file VERSION FILE [--sha256 H] [--yes] ${common}`,
      `mirror list ${common}`,
      `mirror remove VERSION [--yes] ${common}`,
    ],
    load: async () => (await import('./cli/mirror.ts')).mirror,
  },
  cluster: {
    usage: [
      `cluster backup NAME FILE|- ${common}`,
      `cluster restore NAME FILE|- [--replace] ${common}`,
      'cluster access-manifest [--with-bans]',
    ],
    load: async () => (await import('./cli/cluster.ts')).cluster,
  },
  'image-seed': {
    usage: ['image-seed --url URL --pin PINS [--stage-one] DIRECTORY'],
    load: async () => (await import('./cli/image-seed.ts')).imageSeedCommand,
  },
}

const usage = usageText(Object.values(commands).flatMap((command) => command.usage))

const io = {
  env: process.env,
  out: (line: string) => process.stdout.write(`${line}\n`),
  err: (line: string) => process.stderr.write(`${line}\n`),
  ask: process.stdin.isTTY && process.stderr.isTTY ? askTerminal : undefined,
}

async function askTerminal(question: string): Promise<string> {
  const { createInterface } = await import('node:readline/promises')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return await terminal.question(question)
  } finally {
    terminal.close()
  }
}

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === 'help' || name === '--help' || args.includes('--help')) {
    const [show, code] = name === undefined ? [io.err, 2] : [io.out, 0]
    const one = commands[name ?? '']
    show(one ? usageText(one.usage) : usage)
    return code
  }
  const command = commands[name]
  if (!command) {
    io.err(`rollcall: there is no command "${name}"\n${usage}`)
    return 2
  }
  try {
    return await (await command.load())(args, io)
  } catch (error) {
    return failed(error, command.usage)
  }
}

function failed(error: unknown, forms: readonly string[]): number {
  const { message } = shown(error)
  for (const line of message.split('\n')) io.err(`rollcall: ${line}`)
  if (error instanceof ConfigError) return 2
  if (!(error instanceof UsageError)) return 1
  io.err(usageText(forms))
  return 2
}

// Drizzle's own message quotes the query's parameters, which may be secrets.
function shown(error: unknown): Error {
  const { query, cause } = error as { query?: unknown; cause?: unknown }
  return query !== undefined && cause instanceof Error ? cause : (error as Error)
}

process.exitCode = await main(process.argv.slice(2))
// What a failed start may have left open must not keep the process.
process.exit()
