import { hashesOf } from '../k3s/hashes.ts'
import { readRelease } from '../mirror/release-lists.ts'
import { readVersions } from '../services/read-versions.ts'
import { type Command, type Io, UsageError } from './command.ts'
import { readCommand } from './flags.ts'
import { openExistingStore, openStore, type Store } from './open-store.ts'
import { recordRelease } from './record-release.ts'
import { releaseFlags, releaseQuestion, versionArgument } from './release-sources.ts'

/** `rollcall versions add | list`: which releases of K3s may run as root, by hash. */
export const versions: Command = async ([verb, ...args], io) => {
  if (verb === 'add') return add(args, io)
  if (verb === 'list') return list(args, io)
  throw new UsageError('what there is to do: versions add, versions list')
}

async function add(args: readonly string[], io: Io): Promise<number> {
  const { config, values, positionals } = readCommand(args, io, releaseFlags, ['VERSION'])
  const version = versionArgument(positionals[0])
  const release = await readRelease(await releaseQuestion(config, version, values))
  const store = await openStore(config, (message) => io.err(`rollcall: ${message}`))
  try {
    const recorded = await recordRelease(store, io, release, values.yes === true)
    io.err(`rollcall: ${version} ${recorded ? 'is on record' : 'was on record already, with these hashes'}`)
    return 0
  } finally {
    await store.close()
  }
}

async function list(args: readonly string[], io: Io): Promise<number> {
  const { config } = readCommand(args, io, {}, [])
  const store = await openExistingStore(config, (message) => io.err(`rollcall: ${message}`))
  try {
    for (const line of await hashLines(store)) io.out(line)
    return 0
  } finally {
    await store.close()
  }
}

/** One line a hash: version, file, SHA-256, divided by tabs. */
async function hashLines(store: Store): Promise<string[]> {
  const context = { db: store.database.db }
  const all: string[] = []
  for (let after: string | undefined; ; ) {
    const page = await readVersions(context, { after, limit: 100 })
    for (const spec of page) for (const [name, hash] of hashesOf(spec)) all.push([spec.version, name, hash].join('\t'))
    if (page.length < 100) return all
    after = page.at(-1)?.version
  }
}
