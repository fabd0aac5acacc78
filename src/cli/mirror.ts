import { megabytes } from '../mirror/fill.ts'
import { mirrorDisk, removeIndex, sweepBlobs } from '../mirror/mirror-disk.ts'
import { recordAudit } from '../store/audit.ts'
import { listClustersOn } from '../store/upgrades.ts'
import { type Command, type Io, UsageError } from './command.ts'
import { confirm } from './confirm.ts'
import { readCommand } from './flags.ts'
import { addFile, addRelease, changingMirror, mirrorActor } from './mirror-add.ts'
import { mirrorRoot } from './mirror-place.ts'
import { unixTime } from './open-store.ts'
import { versionArgument } from './release-sources.ts'

const verbs: Record<string, Command> = { add: addRelease, 'add-file': addFile, list, remove }

/** `rollcall mirror add | add-file | list | remove`: K3s releases on this server's own disk. */
export const mirror: Command = async ([verb = '', ...args], io) => {
  const work = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined
  if (!work) throw new UsageError('what there is to do: mirror add, mirror add-file, mirror list, mirror remove')
  return work(args, io)
}

/** One line a file: version, name, bytes, SHA-256, divided by tabs. */
async function list(args: readonly string[], io: Io): Promise<number> {
  const { config } = readCommand(args, io, {}, [])
  for (const { version, files } of mirrorDisk(mirrorRoot(config)).list()) {
    for (const [name, { size, sha256 }] of Object.entries(files)) io.out([version, name, size, sha256].join('\t'))
  }
  return 0
}

async function remove(args: readonly string[], io: Io): Promise<number> {
  const { config, values, positionals } = readCommand(args, io, { yes: { type: 'boolean' } }, ['VERSION'])
  const version = versionArgument(positionals[0])
  return changingMirror(config, io, async ({ database }) => {
    const root = mirrorRoot(config)
    if (!mirrorDisk(root).find(version)) throw new Error(`the mirror does not hold ${version}`)
    const users = await listClustersOn(database.db, version)
    if (users.length > 0) {
      io.err(`rollcall: ${version} is what new machines of ${users.join(', ')} install`)
      await confirm(io, 'Remove it nevertheless?', values.yes === true)
    }
    await removeIndex(root, version)
    const freed = await sweepBlobs(root)
    await recordAudit(database.db, unixTime(), mirrorActor, 'mirror.remove', `version:${version}`)
    io.err(`rollcall: ${version} is out of the mirror (${megabytes(freed)} freed)`)
  })
}
