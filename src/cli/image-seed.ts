import { chmod, lstat, mkdir, readdir, readFile, realpath, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { parseArgs } from 'node:util'
import { isLoopbackUrl } from '../addresses.ts'
import { makeSeed, type SeedFile, type SeedLink, stageOne } from '../documents/image-seed.ts'
import { type Command, UsageError } from './command.ts'
import { publicUrlWarning } from './settings.ts'

const templates = new URL('../../templates/', import.meta.url)
const pinList = /^sha256\/\/[A-Za-z0-9+/]{43}=(?:;sha256\/\/[A-Za-z0-9+/]{43}=)*$/

type Options = { url: string; pins: string; stageOne: boolean; directory: string }

/** `rollcall image-seed`: makes an image, or a NoCloud stick, whose machines call in at first boot. */
export const imageSeedCommand: Command = async (args, io) => {
  const options = parse(args)
  io.err(options.stageOne ? await writeStageOne(options) : await writeSeed(options))
  if (isLoopbackUrl(options.url)) {
    io.err(`${publicUrlWarning(options.url, 'leads nowhere but to this machine')}: give --url what they reach it by`)
  }
  return 0
}

function parse(args: readonly string[]): Options {
  const { values, positionals } = readArguments(args)
  const [directory, ...rest] = positionals
  if (!directory || rest.length > 0) throw new UsageError('give one DIRECTORY')
  const url = URL.canParse(values.url ?? '') ? new URL(values.url ?? '') : undefined
  if (url?.protocol !== 'https:') throw new UsageError('--url must be an address that begins with https://')
  if (!values.pin || !pinList.test(values.pin)) throw new UsageError('--pin must be what `rollcall pin` prints')
  return { url: url.origin, pins: values.pin, stageOne: values['stage-one'], directory }
}

function readArguments(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { url: { type: 'string' }, pin: { type: 'string' }, 'stage-one': { type: 'boolean', default: false } },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

async function writeSeed({ directory, ...options }: Options): Promise<string> {
  const root = await openRoot(directory)
  await refuseUsed(root)
  const seed = await loadSeed(options)
  for (const file of [...seed.files, seed.switch]) await putFile(root, file)
  for (const link of seed.links) await putLink(root, link)
  await mkdir(join(await folder(root, 'var/lib'), 'rollcall'), { recursive: true, mode: 0o700 })
  return `${directory}: a machine that boots from this image calls in at ${options.url}`
}

async function writeStageOne({ directory, ...options }: Options): Promise<string> {
  const root = await openRoot(directory)
  const script = await readFile(new URL('seed/stage-one.sh', templates), 'utf8')
  const content = stageOne(await loadSeed(options), script)
  await putFile(root, { path: 'user-data', mode: 0o644, content })
  await putFile(root, { path: 'meta-data', mode: 0o644, content: 'instance-id: rollcall-stage-one\n' })
  return `${directory}: user-data and meta-data for a NoCloud stick (label cidata); user-data alone serves any other data source`
}

async function openRoot(directory: string): Promise<string> {
  const made = await mkdir(directory, { recursive: true })
  if (made !== undefined) await chmod(directory, 0o755)
  return realpath(directory)
}

async function loadSeed({ url, pins }: { url: string; pins: string }) {
  const folder = new URL('seed/', templates)
  const names = await readdir(folder)
  const texts = new Map(
    await Promise.all(names.map(async (name) => [name, await readFile(new URL(name, folder), 'utf8')] as const)),
  )
  const client = await readFile(new URL('client.sh', templates), 'utf8')
  return makeSeed({ url, pins }, { read: (name) => texts.get(name) as string, client })
}

// Two machines with one key are one device to the server: the second would look like a thief of the first.
async function refuseUsed(root: string): Promise<void> {
  const state = join(root, 'var/lib/rollcall')
  const found = await readdir(state).catch(() => [] as string[])
  if (found.length === 0) return
  throw new Error(
    `${state} holds ${found.join(', ')}: this image was booted and has a device's key. Seed a fresh image, or empty that folder first.`,
  )
}

async function putFile(root: string, { path, mode, content }: SeedFile): Promise<void> {
  const target = join(await folder(root, dirname(path)), path.slice(path.lastIndexOf('/') + 1))
  await rm(`${target}.new`, { force: true })
  await writeFile(`${target}.new`, content, { mode, flag: 'wx' })
  // Whatever the umask: an image whose /etc only root can enter serves nobody.
  await chmod(`${target}.new`, mode)
  await rename(`${target}.new`, target)
}

async function putLink(root: string, { path, target }: SeedLink): Promise<void> {
  const link = join(await folder(root, dirname(path)), path.slice(path.lastIndexOf('/') + 1))
  await rm(link, { force: true })
  await symlink(target, link)
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path)
  await chmod(path, 0o755)
}

// An image may hold links that are absolute in its own root and would lead into this machine's.
async function folder(root: string, path: string): Promise<string> {
  let here = root
  for (const name of path.split('/').filter((part) => part !== '.')) {
    const next = join(here, name)
    const exists = await lstat(next).then(
      () => true,
      () => false,
    )
    if (!exists) await makeFolder(next)
    here = await realpath(next).catch(() => {
      throw new Error(`${next} is a link that leads nowhere`)
    })
    if (here !== root && !here.startsWith(root === sep ? sep : root + sep)) {
      throw new Error(`${next} leads out of the image, to ${here}`)
    }
  }
  return here
}
