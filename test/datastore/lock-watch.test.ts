import type { Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { openLockWatch } from '../../src/datastore/lock-watch.ts'
import { suite } from '../suite.ts'

const test = suite('the watch over locks')

const hoarder = { role: 'k3s_n_00000000000000000000000000', locks: 5_000, process: null, alone: false }

/** Two sessions that see a hoarder from the second look on, and fail as told; and which of them began anew. */
function watch(
  fails: (session: number, text: string) => boolean,
  seen = [hoarder],
  others: (text: string) => (typeof hoarder)[] | undefined = () => undefined,
) {
  let opened = 0
  let looks = 0
  const begun: number[] = []
  const connect = () => {
    const session = opened++
    const unsafe = async (text: string) => {
      if (text.startsWith('rollback; begin')) begun.push(session)
      if (looks > 0 && fails(session, text)) throw Object.assign(new Error('out of shared memory'), { code: '53200' })
      if (looks > 0 && others(text)) return [[], others(text)]
      return [[], text.includes('execute looking') && looks > 0 ? seen : []]
    }
    return { unsafe, end: async () => {} } as unknown as Sql
  }
  const { look } = openLockWatch(connect)
  return { look: () => look().finally(() => looks++), begun }
}

test('tells of whom it found, even if the other session cannot begin anew', async () => {
  const { look } = watch((_, text) => text.startsWith('rollback; begin read only'))
  assert.equal(await look(), [])
  assert.equal(await look(), [hoarder])
})

test('tells of whom it found, even if it cannot end his sessions', async () => {
  const { look } = watch((_, text) => text.includes('pg_terminate_backend'))
  assert.equal(await look(), [])
  assert.equal(await look(), [hoarder])
})

test('begins anew by turns, one session after 120 looks from the other', async () => {
  const { look, begun } = watch(() => false, [])
  for (let n = 0; n < 2 + 119; n++) await look()
  assert.equal(begun, [1, 0])
  await look()
  assert.equal(begun, [1, 0, 1])
  for (let n = 0; n < 120; n++) await look()
  assert.equal(begun, [1, 0, 1, 0])
})

test('has the session that lost its transaction begin anew at once, and leaves the other one as it stands', async () => {
  let away = false
  const { look, begun } = watch((session, text) => away && session === 0 && /^(?:select|rollback to)/.test(text), [])
  await look()
  await look()
  away = true
  await look().catch(() => {})
  away = false
  for (let n = 0; n < 5; n++) await look()
  assert.equal(begun, [1, 0, 0])
})

test('looks on in its transaction after something failed in it', async () => {
  let full = true
  const { look, begun } = watch((_, text) => full && text.includes('pg_relation_size'), [])
  for (let n = 0; n < 5; n++) assert.equal(await look(), [])
  full = false
  assert.equal(await look(), [])
  assert.equal(begun, [1, 0])
})

test('tells of those, too, whom only the session finds that begins anew', async () => {
  const another = { ...hoarder, role: 'k3s_n_11111111111111111111111111' }
  const { look } = watch(
    () => false,
    [hoarder],
    (text) => (text.startsWith('rollback; begin read only') ? [another, hoarder] : undefined),
  )
  await look()
  assert.equal(await look(), [hoarder, another])
})

test('lets go of the catalog in both sessions where an admin waits for it', async () => {
  const { look, begun } = watch(() => false, [{ role: null as never, locks: 0, process: null, alone: false }])
  await look()
  assert.equal(await look(), [])
  assert.equal(begun, [1])
  await look()
  assert.is(begun.length, 2)
})

test('keeps nobody waiting by a session that does not answer', async () => {
  let silent = false
  const unsafe = async () => (silent ? new Promise<never>(() => {}) : [])
  const { look, learn } = openLockWatch(() => ({ unsafe, end: async () => {} }) as unknown as Sql)
  await look()
  silent = true
  await learn()
})

test('fails if nobody can look', async () => {
  const { look } = watch(() => true)
  assert.equal(await look(), [])
  try {
    await look()
    assert.unreachable()
  } catch (error) {
    assert.is((error as { code?: string }).code, '53200')
  }
})
