import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import * as assert from 'uvu/assert'
import { tryLock, waitForLock } from '../../src/postgres/lock.ts'
import { suite } from '../suite.ts'

const test = suite('lock')

const directory = mkdtempSync(join(tmpdir(), 'rollcall-lock-'))
const children: ChildProcess[] = []
let n = 0
const fresh = () => join(directory, String(++n))

test.after(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(directory, { recursive: true })
})

/** A process that tries to take a lock and says whether it got it; it keeps it until killed. */
async function taker(place: string, name: string): Promise<{ child: ChildProcess; got: boolean }> {
  const url = new URL('../../src/postgres/lock.ts', import.meta.url).href
  const code = `import { tryLock } from ${JSON.stringify(url)}
    console.log('release' in tryLock(${JSON.stringify(place)}, ${JSON.stringify(name)}))
    setInterval(() => {}, 1e6)`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const line of createInterface({ input: child.stdout })) return { child, got: line === 'true' }
  throw new Error('said nothing')
}

const killed = (child: ChildProcess) =>
  new Promise((done) => {
    child.once('exit', done)
    child.kill('SIGKILL')
  })

test('is refused while its holder lives, and names it', () => {
  const place = fresh()
  assert.ok('release' in tryLock(place, 'a'))
  assert.equal(tryLock(place, 'a'), { pid: process.pid })
})

test('is another one under another name', () => {
  const place = fresh()
  assert.ok('release' in tryLock(place, 'a'))
  assert.ok('release' in tryLock(place, 'b'))
})

test('is free once given back, again and again', async () => {
  const place = fresh()
  for (let round = 0; round < 5; round++) (await waitForLock(place, 'a', 0)).release()
  assert.is(readdirSync(place).length, 1)
})

test('is free once its holder was killed', async () => {
  const place = fresh()
  const { child, got } = await taker(place, 'a')
  assert.is(got, true)
  assert.equal(tryLock(place, 'a'), { pid: child.pid })
  await killed(child)
  assert.ok('release' in tryLock(place, 'a'))
})

test('is free if its holder’s pid now belongs to another process', () => {
  const place = fresh()
  tryLock(place, 'a')
  writeFileSync(join(place, 'a.lock.1'), `${process.pid} of-another-boot:1\n`)
  assert.ok('release' in tryLock(place, 'a'))
})

test('goes to exactly one of many that find its holder dead', async () => {
  const place = fresh()
  await killed((await taker(place, 'a')).child)
  const takers = await Promise.all(Array.from({ length: 6 }, () => taker(place, 'a')))
  assert.is(takers.filter(({ got }) => got).length, 1)
})

test('gives up waiting for a holder that does not let go', async () => {
  const place = fresh()
  tryLock(place, 'a')
  const refusal = await waitForLock(place, 'a', 0).catch((error: Error) => error.message)
  assert.match(refusal as string, new RegExp(`process ${process.pid} has held`))
})
