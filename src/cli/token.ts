import { randomBytes } from 'node:crypto'
import { toAppError } from '../http/error-cause.ts'
import { type Scope, scopes } from '../services/admin-token.ts'
import { createToken } from '../services/create-token.ts'
import { type Command, UsageError } from './command.ts'
import { readFlags } from './flags.ts'
import { openStore, unixTime } from './open-store.ts'

const flags = { name: { type: 'string' }, scope: { type: 'string' }, expires: { type: 'string' } } as const

/** `rollcall token create`: prints the token, once, alone on standard output. */
export const token: Command = async ([verb, ...args], io) => {
  if (verb !== 'create') throw new UsageError('the only thing to do is: token create')
  const { config, values } = readFlags(args, io, flags)
  const input = { name: nameOf(values.name), scope: scopeOf(values.scope), expires: values.expires }
  const store = await openStore(config, (message) => io.err(`rollcall: ${message}`))
  try {
    const context = { ...store.database, now: unixTime, random: randomBytes }
    const made = await createToken(context, { name: 'cli' }, input)
    io.out(made.body.token)
    return 0
  } catch (error) {
    throw explained(error, input.name)
  } finally {
    await store.close()
  }
}

function nameOf(name: string | undefined): string {
  if (name === undefined || !/^\S(?:.{0,126}\S)?$/.test(name))
    throw new UsageError('--name: give a name for the token, at most 128 characters')
  return name
}

function scopeOf(scope: string | undefined): Scope {
  if (!scopes.includes(scope as Scope)) throw new UsageError(`--scope: give one of ${scopes.join(', ')}`)
  return scope as Scope
}

function explained(thrown: unknown, name: string): unknown {
  const error = toAppError(thrown)
  if (error.code === 'invalid') {
    return new UsageError(error.errors?.map(({ path, reason }) => `--${path}: ${reason}`).join('\n') ?? 'not valid')
  }
  if (error.code === 'already_exists') return new Error(`a token named "${name}" exists already: choose another name`)
  return thrown
}
