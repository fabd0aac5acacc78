import { createReadStream, existsSync, renameSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { AppError } from '../errors.ts'
import { backupCluster } from '../services/backup-cluster.ts'
import { restoreCluster } from '../services/restore-cluster.ts'
import { printAccessManifest } from './access-manifest.ts'
import { type Command, type Io, UsageError } from './command.ts'
import { readFlags } from './flags.ts'
import { openExistingStore, unixTime } from './open-store.ts'

const actor = { name: 'cli' }
const flags = { replace: { type: 'boolean' } } as const

/** `rollcall cluster backup|restore NAME FILE`: one managed cluster's rows, to a file or from one; `-` is standard output or input. */
export const cluster: Command = async (words, io) => {
  const [verb, name, file, ...args] = words
  if (verb === 'access-manifest') return printAccessManifest(words.slice(1), io)
  const work = verb === 'backup' ? backup : verb === 'restore' ? restore : undefined
  if (!work) throw new UsageError('the things to do are: cluster backup, cluster restore, cluster access-manifest')
  if (name === undefined || file === undefined || name.startsWith('-') || (file.startsWith('-') && file !== '-')) {
    throw new UsageError('give the name of a cluster, and a file')
  }
  const { config, values } = readFlags(args, io, verb === 'restore' ? flags : {})
  const store = await openExistingStore(config, (message) => io.err(`rollcall: ${message}`))
  try {
    const { database, vault, keys, managed } = store
    const asked = { name, file, replace: values.replace !== undefined }
    await work({ db: database.db, sql: database.sql, vault, keys, managed, now: unixTime }, asked, io)
    return 0
  } catch (error) {
    throw explained(error, name)
  } finally {
    await store.close()
  }
}

type Deps = Parameters<typeof restoreCluster>[0]
type Asked = { name: string; file: string; replace: boolean }

async function backup(deps: Deps, { name, file }: Asked, io: Io): Promise<void> {
  if (file === '-') await backupCluster(deps, actor, name, process.stdout)
  else await backupToFile(deps, name, file)
  // Said of what is there: of a backup that came to nothing it would only drown the reason.
  io.err(
    'rollcall: THE BACKUP OPENS THE CLUSTER: its server token, the keys of its CA and all its Secrets are in it, not encrypted',
  )
}

async function backupToFile(deps: Deps, name: string, file: string): Promise<void> {
  if (existsSync(file)) throw new Error(`${file} is there already`)
  const part = `${file}.${process.pid}.part`
  try {
    // Opened before anything is asked for: a stream would say that it cannot be when nobody listens to it yet.
    const opened = await open(part, 'wx', 0o600)
    await backupCluster(deps, actor, name, opened.createWriteStream())
    renameSync(part, file)
  } catch (error) {
    rmSync(part, { force: true })
    throw error
  }
}

async function restore(deps: Deps, { name, file, replace }: Asked, io: Io): Promise<void> {
  const source = file === '-' ? process.stdin : createReadStream(file)
  const { cluster, version, taken_at } = await restoreCluster(deps, actor, { name, replace }, source)
  const when = new Date(taken_at * 1000).toISOString()
  io.err(
    `rollcall: ${name} is ${cluster} as of ${when}, when it ran K3s ${version}; restart K3s on servers that are up`,
  )
}

function explained(error: unknown, name: string): unknown {
  if (!(error instanceof AppError)) return error
  if (error.code === 'not_found') return new Error(`there is no cluster ${name}`)
  return new Error(error.detail ?? error.title)
}
