import { basename, dirname, join, resolve } from 'node:path'
import type { Config } from '../config.ts'
import { fileName, reservedNames } from '../k3s/release.ts'
import { addToIndex, fillMirror } from '../mirror/fill.ts'
import { hashFile, keepFile } from '../mirror/keep-file.ts'
import { mirrorDisk } from '../mirror/mirror-disk.ts'
import { readRelease } from '../mirror/release-lists.ts'
import { directorySource } from '../mirror/source.ts'
import { tryLock } from '../postgres/lock.ts'
import { prepareDataDirectory } from '../postgres/place.ts'
import type { Actor } from '../services/actor.ts'
import { recordAudit } from '../store/audit.ts'
import { type Command, type Io, UsageError } from './command.ts'
import { readCommand } from './flags.ts'
import { mirrorRoot } from './mirror-place.ts'
import { openStore, type Store, unixTime } from './open-store.ts'
import { recordFile, recordRelease } from './record-release.ts'
import { releaseFlags, releaseQuestion, versionArgument } from './release-sources.ts'

export const mirrorActor: Actor = { name: 'cli' }

/** `rollcall mirror add`: a release, checked against its lists; its hashes are recorded first, as `versions add` does. */
export const addRelease: Command = async (args, io) => {
  const flags = { ...releaseFlags, 'no-images': { type: 'boolean' } } as const
  const { config, values, positionals } = readCommand(args, io, flags, ['VERSION'])
  const version = versionArgument(positionals[0])
  const question = await releaseQuestion(config, version, values)
  const release = await readRelease(question)
  return changingMirror(config, io, async (store) => {
    await recordRelease(store, io, release, values.yes === true)
    const say = (message: string) => io.err(`rollcall: ${message}`)
    const { source } = question
    const images = values['no-images'] !== true
    const { files } = await fillMirror({ root: mirrorRoot(config), release, source, images, now: unixTime(), say })
    await tell(store, version, Object.keys(files))
    say(`the mirror holds ${version}: ${Object.keys(files).length} files`)
  })
}

/** `rollcall mirror add-file`: a package or a further archive of images, beside a release that is there. */
export const addFile: Command = async (args, io) => {
  const flags = { sha256: { type: 'string' }, yes: { type: 'boolean' } } as const
  const { config, values, positionals } = readCommand(args, io, flags, ['VERSION', 'FILE'])
  const version = versionArgument(positionals[0])
  const path = resolve(positionals[1] as string)
  const name = basename(path)
  if (!fileName.test(name) || reservedNames.has(name)) throw new UsageError(`${name} cannot be a file beside a release`)
  const source = directorySource(dirname(path))
  const sha256 = await hashFile(source, name)
  if (values.sha256 !== undefined && values.sha256.toLowerCase() !== sha256)
    throw new Error(`${path} has another SHA-256 than was given: ${sha256}`)
  return changingMirror(config, io, async (store) => {
    const root = mirrorRoot(config)
    if (!mirrorDisk(root).find(version))
      throw new Error(`the mirror does not hold ${version} yet: rollcall mirror add ${version}`)
    await recordFile(store, io, { version, name, sha256 }, values.yes === true || values.sha256 !== undefined)
    const { size } = await keepFile(root, source, { name, sha256 })
    await addToIndex(root, version, { [name]: { sha256, size } }, unixTime())
    await tell(store, version, [name])
    io.err(`rollcall: the mirror holds ${name} for ${version}`)
  })
}

/** Runs what writes to the mirror; one at a time, the server meanwhile serves what is there. */
export async function changingMirror(config: Config, io: Io, work: (store: Store) => Promise<void>): Promise<number> {
  prepareDataDirectory(config.dataDirectory)
  const lock = tryLock(join(config.dataDirectory, 'run'), 'mirror')
  if (!('release' in lock)) throw new Error(`process ${lock.pid} changes this mirror just now: wait for it`)
  try {
    const store = await openStore(config, (message) => io.err(`rollcall: ${message}`))
    try {
      await work(store)
    } finally {
      await store.close()
    }
  } finally {
    lock.release()
  }
  return 0
}

const tell = ({ database }: Store, version: string, files: string[]) =>
  recordAudit(database.db, unixTime(), mirrorActor, 'mirror.add', `version:${version}`, { files })
