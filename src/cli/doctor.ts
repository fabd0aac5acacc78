import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { AppError } from '../errors.ts'
import { Datastore } from '../k3s/cluster.ts'
import { examineDatastore, examineLoose, type Finding } from '../services/check-datastore.ts'
import { type Command, type Io, UsageError } from './command.ts'
import { readFlags } from './flags.ts'
import { openExistingStore } from './open-store.ts'

const flags = {
  cluster: { type: 'string' },
  kind: { type: 'string' },
  cafile: { type: 'string' },
  certfile: { type: 'string' },
  keyfile: { type: 'string' },
} as const

/** `rollcall doctor datastore`: says what is wrong with a datastore before K3s would. Exit code 1 if K3s would not come up on it. */
export const doctor: Command = async ([what, ...args], io) => {
  if (what !== 'datastore') throw new UsageError('the only thing to look at is: doctor datastore')
  const { config, values } = readFlags(args, io, flags)
  if ((values.cluster === undefined) === (values.kind === undefined)) throw new UsageError('give --cluster or --kind')
  if (values.kind !== undefined) return examineGiven(io, await given(values))
  const store = await openExistingStore(config, (message) => io.err(`rollcall: ${message}`))
  try {
    const known = { db: store.database.db, vault: store.vault, managed: store.managed }
    return told(io, await examineDatastore(known, values.cluster as string))
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found')
      throw new Error(`there is no cluster ${values.cluster}`)
    throw error
  } finally {
    await store.close()
  }
}

async function examineGiven(io: Io, datastore: Datastore): Promise<number> {
  try {
    return told(io, await examineLoose(datastore))
  } catch (error) {
    if (!(error instanceof AppError) || !error.errors) throw error
    throw new UsageError(error.errors.map(({ path, reason }) => `${path}: ${reason}`).join('\n'))
  }
}

// An endpoint holds a password, and arguments are visible to everybody on a machine.
async function given(values: Record<string, string | undefined>): Promise<Datastore> {
  const endpoint = (await text(process.stdin)).trim()
  const file = (name: string) => (values[name] === undefined ? {} : { [name]: pem(name, values[name]) })
  const parsed = Datastore.safeParse({
    kind: values.kind,
    endpoint,
    ...file('cafile'),
    ...file('certfile'),
    ...file('keyfile'),
  })
  if (!parsed.success) throw new UsageError('--kind: give postgres, mysql or etcd, and the endpoint on standard input')
  return parsed.data
}

function pem(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`--${name}: cannot read ${path} (${(error as NodeJS.ErrnoException).code})`)
  }
}

function told(io: Io, findings: readonly Finding[]): number {
  for (const { severity, text } of findings) io.out(`${severity}: ${text}`)
  const bad = findings.some(({ severity }) => severity === 'error')
  io.out(bad ? 'K3s will not come up on it' : 'K3s can come up on it')
  return bad ? 1 : 0
}
