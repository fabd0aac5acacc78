import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { rollcall } from '../rollcall.ts'
import { suite } from '../suite.ts'

const nobody = { uid: 65_534, gid: 65_534 }
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const root = process.getuid?.() === 0
const nobodyReadsUs = root && spawnSync('/bin/sh', ['-c', 'test -r "$0"', main], { ...nobody, cwd: '/' }).status === 0

const directory = mkdtempSync(join(tmpdir(), 'rollcall-accounts-'))
const pins = /^sha256\/\/\S+;sha256\/\/\S+\n$/

const test = suite('accounts', { timeout: 240_000 })
const asRoot = root ? test : test.skip
const asNobody = nobodyReadsUs ? test : test.skip

test.after(() => rmSync(directory, { recursive: true, force: true }))

test('PostgreSQL is refused under an account that does not exist, or that only root could choose', async () => {
  const env = { ROLLCALL_POSTGRES_USER: 'no-such-account' }
  const end = await rollcall(['migrate', '--data-dir', join(directory, 'wrong')], { env })
  assert.is(end.code, 1)
  assert.match(end.err, root ? /no account "no-such-account"/ : /only works when Rollcall is started as root/)
})

asRoot(
  'root gets a database although Postgres’ account cannot reach the data directory, and is told where it is',
  async () => {
    const inner = join(directory, 'closed', 'data')
    mkdirSync(join(directory, 'closed'), { mode: 0o700 })
    const end = await rollcall(['migrate', '--data-dir', inner])
    const place = readFileSync(join(inner, 'postgres.elsewhere'), 'utf8').trim()
    try {
      assert.is(end.code, 0)
      assert.match(end.err, `THE DATABASE IS KEPT AT ${place}`)
      assert.is(statSync(join(place, 'data')).uid === 0, false)
      assert.match((await rollcall(['pin', '--data-dir', inner])).out, pins)
    } finally {
      rmSync(place, { recursive: true })
    }
    const gone = await rollcall(['pin', '--data-dir', inner])
    assert.is(gone.code, 1)
    assert.match(gone.err, /is gone: bring it back, or remove .*postgres\.elsewhere/)
    assert.is(existsSync(place), false)
  },
)

asNobody('a plain user’s directory stays theirs, also after root ran a command on it', async () => {
  const open = mkdtempSync(join(tmpdir(), 'rollcall-home-'))
  chownSync(open, nobody.uid, nobody.gid)
  try {
    assert.is((await rollcall(['migrate', '--data-dir', open], nobody)).code, 0)
    const first = await rollcall(['pin', '--data-dir', open], nobody)
    assert.match(first.out, pins)
    assert.is(statSync(join(open, 'postgres', 'data')).uid, nobody.uid)
    assert.is((await rollcall(['pin', '--data-dir', open])).out, first.out)
    assert.is((await rollcall(['pin', '--data-dir', open], nobody)).out, first.out)
  } finally {
    rmSync(open, { recursive: true })
  }
})

asNobody('a data directory that an account may not look into is not called empty', async () => {
  const closed = mkdtempSync(join(tmpdir(), 'rollcall-closed-'))
  mkdirSync(join(closed, 'data'))
  try {
    const asked = ['doctor', 'datastore', '--cluster', 'a', '--data-dir', join(closed, 'data')]
    const end = await rollcall(asked, nobody)
    assert.is(end.code, 1)
    assert.match(end.err, /EACCES: permission denied/)
  } finally {
    rmSync(closed, { recursive: true })
  }
})
