import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { identify } from '../../src/postgres/process-identity.ts'
import { enter, leave, others } from '../../src/postgres/users.ts'
import { suite } from '../suite.ts'

const directory = mkdtempSync(join(tmpdir(), 'rollcall-users-'))
const living = process.ppid
const dead = spawnSync('/bin/true').pid

const test = suite('who uses the embedded PostgreSQL')
test.after(() => rmSync(directory, { recursive: true }))
test.before.each(() => {
  for (const name of readdirSync(directory)) rmSync(join(directory, name))
})

test('is not who is dead, and its note is removed', () => {
  writeFileSync(join(directory, `${dead}.guest`), `${dead} whatever\n`)
  assert.equal(others(directory), [])
  assert.equal(readdirSync(directory), [])
})

test('is not who only begins to note it; that is left alone, as it is about to be renamed', () => {
  writeFileSync(join(directory, `${living}.guest.new`), '')
  assert.equal(others(directory), [])
  assert.equal(readdirSync(directory), [`${living}.guest.new`])
})

test('is every other living process that has noted it', () => {
  enter(directory, 'guest')
  writeFileSync(join(directory, `${living}.unit`), `${living} ${identify(living)}\n`)
  assert.equal(others(directory), [{ pid: living, use: 'unit' }])
  leave(directory, 'guest')
  assert.equal(readdirSync(directory), [`${living}.unit`])
})
