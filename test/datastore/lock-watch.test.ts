import type { Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { openLockWatch } from '../../src/datastore/lock-watch.ts'
import { suite } from '../suite.ts'

const test = suite('the watch over locks')

const hoarder = { role: 'k3s_n_00000000000000000000000000', locks: 5_000, process: null }

/** Two sessions that see a hoarder from the second look on, and fail as told. */
function watch(fails: (session: number, text: string) => boolean) {
  let opened = 0
  let looks = 0
  const connect = () => {
    const session = opened++
    const unsafe = async (text: string) => {
      if (looks > 0 && fails(session, text)) throw Object.assign(new Error('out of shared memory'), { code: '53200' })
      return [[], text.includes('pg_locks') && looks > 0 ? [hoarder] : []]
    }
    return { unsafe, end: async () => {} } as unknown as Sql
  }
  const { look } = openLockWatch(connect)
  return { look: () => look().finally(() => looks++) }
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
