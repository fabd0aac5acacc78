import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { findPostmaster } from '../../src/postgres/pid-file.ts'
import { isAlive } from '../../src/postgres/process-identity.ts'
import { ask, rollcall, serving } from '../rollcall.ts'
import { suite } from '../suite.ts'

const directory = mkdtempSync(join(tmpdir(), 'rollcall-serve-'))
const postmaster = () => findPostmaster(join(directory, 'postgres', 'data'))
const here = ['--data-dir', directory]
const create = (name: string, ...more: string[]) =>
  rollcall(['token', 'create', '--name', name, '--scope', 'read', ...here, ...more])

const test = suite('rollcall serve', { timeout: 240_000 })

test.before(() => chmodSync(directory, 0o700))
test.after(() => rmSync(directory, { recursive: true, force: true }))

test('refuses wrong usage with 2 and all that is wrong', async () => {
  const end = await rollcall(['serve', ...here, '--https-port', 'x', '--frob'])
  assert.is(end.code, 2)
  assert.is(end.out, '')
  assert.match(end.err, /frob.*\nusage:\n {2}rollcall serve/)
  const config = await rollcall(['serve', ...here, '--https-port', 'x', '--http-port', 'y'])
  assert.is(config.code, 2)
  assert.match(config.err, /--https-port.*\n.*--http-port/)
})

test('serves on a fresh directory, tokens are made meanwhile, a second server is refused', async () => {
  const server = await serving(here)
  const pins = await rollcall(['pin', ...here])
  const ready = await ask(`${server.https}/readyz`)
  assert.is(ready.status, 200)
  assert.is(pins.out.split(';')[0], ready.pin)

  const token = await create('one')
  assert.match(token.out, /^rc_[A-Za-z0-9_-]{43}\n$/)
  const asked = await ask(`${server.https}/metrics`, { authorization: `Bearer ${token.out.trim()}` })
  assert.is(asked.status, 200)
  const twice = await create('one')
  assert.is(twice.code, 1)
  assert.match(twice.err, /a token named "one" exists already/)

  const second = await rollcall(['serve', ...here, '--https-port', '0', '--http-port', '0'])
  assert.is(second.code, 1)
  assert.is(second.out, '')
  assert.match(second.err, new RegExp(`already runs on ${directory} \\(process ${server.child.pid}\\)`))

  const end = await server.stop()
  assert.is(end.code, 0)
  assert.is(end.out.trim().split('\n').length, 1)
  assert.is(postmaster(), undefined)
  assert.not.match(end.err, token.out.trim())
})

test('makes tokens while no server runs, and leaves none behind', async () => {
  const token = await create('two', '--expires', '30d')
  assert.match(token.out, /^rc_[A-Za-z0-9_-]{43}\n$/)
  assert.is(postmaster(), undefined)
})

test('keeps keys, passwords and the database to their owners', async () => {
  const { statSync } = await import('node:fs')
  const mode = (...path: string[]) => (statSync(join(directory, ...path)).mode & 0o777).toString(8)
  assert.is(mode('sealing.key'), '600')
  assert.is(mode('postgres', 'rollcall.password'), '600')
  assert.is(mode('postgres', 'superuser.password'), '600')
  assert.is(mode('postgres', 'data'), '700')
  assert.is(existsSync(join(directory, 'postgres', 'pwfile')), false)
})

test('goes on with the PostgreSQL that a killed server left behind, and stops it in the end', async () => {
  const first = await serving(here)
  const left = postmaster()
  first.child.kill('SIGKILL')
  await first.ended
  const second = await serving(here)
  assert.is(postmaster()?.pid, left?.pid)
  assert.is((await ask(`${second.https}/readyz`)).status, 200)
  assert.is((await second.stop()).code, 0)
  assert.is(postmaster(), undefined)
})

test('recovers by itself when its PostgreSQL was killed', async () => {
  const server = await serving(here)
  const { pid, identity } = postmaster() as { pid: number; identity: string }
  process.kill(pid, 'SIGKILL')
  while (isAlive(pid, identity)) await sleep(20)
  const statuses = new Set<number>()
  for (let status = 0; status !== 200 || !postmaster(); await sleep(100)) {
    status = (await ask(`${server.https}/readyz`)).status
    statuses.add(status)
    assert.is((await ask(`${server.https}/healthz`)).status, 200)
  }
  assert.ok(
    [...statuses].every((status) => status === 200 || status === 503),
    [...statuses].join(),
  )
  assert.is.not(postmaster()?.pid, pid)
  assert.is((await server.stop()).code, 0)
})

test('starts although a stale pid file names a process that lives', async () => {
  writeFileSync(
    join(directory, 'postgres', 'data', 'postmaster.pid'),
    `${process.pid}\n${directory}\n1\n5432\n\n\n\n\n`,
  )
  const server = await serving(here)
  assert.is((await server.stop()).code, 0)
})

// As where the init of a container, or a parent that is busy, is slow to wait for it: kill(2) finds it, so PostgreSQL refuses to start.
test('starts PostgreSQL again although nobody has waited for the one that was killed', async () => {
  const server = await serving(here)
  const { pid, identity } = postmaster() as { pid: number; identity: string }
  process.kill(server.child.pid as number, 'SIGSTOP')
  try {
    process.kill(pid, 'SIGKILL')
    while (isAlive(pid, identity)) await sleep(20)
    assert.ok(process.kill(pid, 0))
    const token = await create('three')
    assert.is(token.code, 0, token.err)
  } finally {
    process.kill(server.child.pid as number, 'SIGCONT')
  }
  while ((await ask(`${server.https}/readyz`)).status !== 200) await sleep(100)
  assert.is((await server.stop()).code, 0)
})

test('starts PostgreSQL where it was, at another port if that is taken, and not at all if that one was asked for', async () => {
  const conf = join(directory, 'postgres', 'data', 'postgresql.conf')
  const port = () => Number(/^port = '(\d+)'$/m.exec(readFileSync(conf, 'utf8'))?.[1])
  const last = port()
  assert.is((await create('four')).code, 0)
  assert.is(port(), last)
  const other = createServer().listen(last, '127.0.0.1')
  await once(other, 'listening')
  try {
    const token = await create('five')
    assert.is(token.code, 0, token.err)
    assert.is.not(port(), last)
    const asked = await rollcall(['serve', ...here, '--https-port', '0', '--http-port', '0'], {
      env: { ROLLCALL_POSTGRES_PORT: `${last}` },
    })
    assert.is(asked.code, 1)
    assert.match(
      asked.err,
      new RegExp(`PostgreSQL's port ${last} is in use by another program: .*ROLLCALL_POSTGRES_PORT`),
    )
  } finally {
    other.close()
  }
  rmSync(conf)
  assert.is((await create('six')).code, 0)
})

// Docker's containers have no CAP_SYS_PTRACE, without which /proc does not say where another account's process works.
if (process.getuid?.() === 0) {
  test('starts and stops PostgreSQL as a root that may not look into the processes of others', async () => {
    const by = ['setpriv', '--bounding-set', '-sys_ptrace', '--inh-caps', '-sys_ptrace']
    const token = await rollcall(['token', 'create', '--name', 'seven', '--scope', 'read', ...here], { by })
    assert.is(token.code, 0, token.err)
    assert.is(postmaster(), undefined)
  })
}

test('refuses to start without its sealing key, or with another, and never makes a new one', async () => {
  const key = join(directory, 'sealing.key')
  renameSync(key, `${key}.kept`)
  const missing = await rollcall(['serve', ...here, '--https-port', '0', '--http-port', '0'])
  assert.is(missing.code, 1)
  assert.match(missing.err, /sealing key file .* is missing, and this database is sealed/)
  assert.is(existsSync(key), false)
  writeFileSync(key, `${Buffer.alloc(32, 1).toString('base64')}\n`)
  const wrong = await rollcall(['serve', ...here, '--https-port', '0', '--http-port', '0'])
  assert.is(wrong.code, 1)
  assert.match(wrong.err, /does not fit this database/)
  renameSync(`${key}.kept`, key)
  assert.is(postmaster(), undefined)
})

test('refuses a database of another major version, and says what to do', async () => {
  const version = join(directory, 'postgres', 'data', 'PG_VERSION')
  const before = readFileSync(version, 'utf8')
  writeFileSync(version, '17\n')
  const end = await rollcall(['pin', ...here])
  writeFileSync(version, before)
  assert.is(end.code, 1)
  assert.match(end.err, /made by PostgreSQL 17, and this Rollcall brings PostgreSQL 18: .*pg_dumpall/)
})

test('runs beside a PostgreSQL that is a process of its own, and leaves it running', async () => {
  const { start } = await import('../rollcall.ts')
  const unit = start(['postgres', ...here])
  while (!/PostgreSQL runs \(process/.test(unit.err())) await sleep(50)
  const { pid } = postmaster() as { pid: number }
  const server = await serving(here)
  assert.is((await server.stop()).code, 0)
  assert.is(postmaster()?.pid, pid)
  unit.child.kill('SIGTERM')
  assert.is((await unit.ended).code, 0)
  assert.is(postmaster(), undefined)
})

test('starts over where making the database was cut off', async () => {
  const cut = join(directory, 'cut')
  mkdirSync(join(cut, 'postgres', 'data.new', 'base'), { recursive: true })
  writeFileSync(join(cut, 'postgres', 'data.new', 'PG_VERSION'), '18\n')
  if (process.getuid?.() === 0) chmodSync(directory, 0o711)
  assert.is((await rollcall(['migrate', '--data-dir', cut])).code, 0)
  assert.match((await rollcall(['pin', '--data-dir', cut])).out, /^sha256\/\//)
})
