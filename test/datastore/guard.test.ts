import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { guarded, type KineQuery, type KineRead, readKine, readKines, refusal } from '../../src/datastore/guard.ts'
import { connectObserver, type Observer } from '../../src/datastore/observer.ts'
import type { Outcome } from '../../src/datastore/read-messages.ts'
import { tamperedSigns } from '../../src/datastore/table-guard.ts'
import { observerRole, sharedLoginPassword } from '../../src/k3s/datastore-names.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { type Cluster, type Clusters, kineTable, makeClusters } from './clusters.ts'
import { key } from './node.ts'

const ids: KineQuery = { columns: 'id int8', text: (table) => `select id::int8 from only ${table} where id > 0` }
const numbers = (count: number) => Array.from({ length: count }, (_, i) => i + 1)

const words = suite('what the guard says of a table')

const says = (message: string) => refusal({ code: 'RC001', severity: 'ERROR', message })
const ours = { kind: 'tampered', what: 'it is not what K3s makes' }

words('is not in the words of hostile code', () => {
  for (const message of [
    '',
    'kine \u001b[31mred',
    'it has rules\n',
    'it has rules, <b>all is well</b>',
    'it has rules,it is of a type',
    'x, it has rules',
    ', ',
  ]) {
    assert.equal(says(message), ours, JSON.stringify(message))
  }
})

words('is handed on in its own', () => {
  for (const sign of tamperedSigns) assert.equal(says(sign), { kind: 'tampered', what: sign })
  const all = tamperedSigns.join(', ')
  assert.equal(says(all), { kind: 'tampered', what: all })
})

const held = suite('reads of a table that is held')

/** Says so of the clusters with these names each time, after so many milliseconds. */
function observerOf(holding: readonly string[], ms: number) {
  const messages: number[] = []
  const runAll = async (statements: readonly string[]): Promise<Outcome[]> => {
    messages.push(statements.length)
    await sleep(ms)
    const error = { code: '55P03', severity: 'ERROR' }
    return statements.map((text) => (holding.some((id) => text.includes(id)) ? { error } : { rows: [] }))
  }
  return { messages, observer: { runAll } as unknown as Observer }
}
const reads = ['a', 'b', 'c'].map((letter) => ({ clusterId: `clu_${letter.repeat(26)}`, query: ids }))
const kinds = (all: readonly KineRead<unknown>[]) => all.map(({ kind }) => kind)

held('are repeated without the others', async () => {
  const { messages, observer } = observerOf(['k3s_bbb'], 0)
  assert.equal(kinds(await readKines(observer, reads)), ['rows', 'late', 'rows'])
  assert.is(messages[0], 3)
  assert.ok(messages.length > 3)
  assert.equal(new Set(messages.slice(1)), new Set([1]))
})

held('are not repeated where the first message took all the time', async () => {
  const { messages, observer } = observerOf(['k3s_aaa', 'k3s_ccc'], 510)
  assert.equal(kinds(await readKines(observer, reads)), ['late', 'rows', 'late'])
  assert.equal(messages, [3])
})

for (const major of majors) {
  const test = suite(`the guard of a table, PostgreSQL ${major}`, { timeout: 60_000 })
  let server: Throwaway
  let clusters: Clusters
  let observer: Observer
  let mallory: Cluster
  const open: Sql[] = []

  test.before(async () => {
    server = await throwawayPostgres(major)
    clusters = makeClusters(server)
    observer = clusters.observer()
    await clusters.managed.ready()
  })
  test.before.each(async () => {
    mallory = await clusters.add()
  })
  test.after(async () => {
    await Promise.all(open.map((sql) => sql.end({ timeout: 1 })))
    await clusters?.close()
    await server?.stop()
  })

  const kept = (sql: Sql) => {
    open.push(sql)
    return sql
  }
  const session = () => kept(postgres(mallory.url, { max: 1, fetch_types: false, onnotice: () => {} }))
  const read = () => readKine<Record<string, unknown>>(observer, mallory.id, ids)

  /** Keeps a relation of mallory's locked until told to let go. */
  async function lock(name: string, meanwhile = async (_: Sql) => {}): Promise<() => Promise<void>> {
    const holder = session()
    await holder.unsafe(`begin; lock table ${name} in access exclusive mode`)
    return async () => {
      await meanwhile(holder)
      await holder.unsafe('commit')
    }
  }

  /** The most relations of mallory's that the observer held together, or waited for, until the work was done. */
  async function held(work: Promise<unknown>): Promise<number> {
    const looking = server.superuser('rollcall_k3s')
    let most = 0
    let over = false
    void work
      .catch(() => {})
      .finally(() => {
        over = true
      })
    while (!over) {
      const [row] = await looking<{ n: number }[]>`
        select count(*)::int as n from pg_locks l join pg_stat_activity s using (pid) join pg_class c on c.oid = l.relation
        where s.usename = ${observerRole} and c.relnamespace = ${mallory.schema}::regnamespace`
      most = Math.max(most, row?.n ?? 0)
    }
    return most
  }

  const manyTables = 60
  const views = `${numbers(manyTables)
    .map((n) => `create table t${n} (a int)`)
    .join('; ')};
    create view inner_view as ${numbers(manyTables)
      .map((n) => `select a from t${n}`)
      .join(' union all ')};`

  test('is not led through a view to the tables behind it', async () => {
    await mallory.node.unsafe(`${views} create view kine as select * from inner_view`)
    const letGo = await lock(`t${manyTables}`)
    const reading = read()
    assert.is(await held(reading), 0)
    assert.equal(await reading, { kind: 'tampered', what: 'kine is no plain table' })
    await letGo()
  })

  test('holds no table behind a view that took the place of the table while it waited', async () => {
    await mallory.node.unsafe(`${kineTable} ${views}`)
    const letTableGo = await lock('kine', async (holder) => {
      await holder.unsafe('drop table kine; create view kine as select * from inner_view')
    })
    const letLastGo = await lock(`t${manyTables}`)
    const reading = read()
    const most = held(reading)
    await sleep(150)
    await letTableGo()
    assert.equal(await reading, { kind: 'tampered', what: 'kine is no plain table' })
    assert.is(await most, 0)
    await letLastGo()
  })

  test('reads a table that is let go of in time', async () => {
    await mallory.node.unsafe(`${kineTable} insert into kine (name) values ('a')`)
    const letGo = await lock('kine')
    const reading = read()
    await sleep(200)
    await letGo()
    assert.equal(await reading, { kind: 'rows', rows: [{ id: '1' }] })
  })

  test('waits half a second for a table that is held', async () => {
    await mallory.node.unsafe(kineTable)
    const letGo = await lock('kine')
    const begun = Date.now()
    assert.equal(await read(), { kind: 'late', what: 'somebody holds the table locked' })
    const took = Date.now() - begun
    assert.ok(took >= 500 && took < 2_000, `${took} ms`)
    await letGo()
  })

  test('does not wait long for an index that is held', async () => {
    await mallory.node.unsafe(kineTable)
    const letGo = session()
    await letGo.unsafe('begin; reindex index kine_name_index')
    assert.equal(await read(), { kind: 'late', what: 'somebody holds the table locked' })
    await letGo.unsafe('commit')
    assert.is((await read()).kind, 'rows')
  })

  test('refuses a table with more indexes than kine makes', async () => {
    await mallory.node.unsafe(kineTable)
    await mallory.node.unsafe(
      numbers(9)
        .map((n) => `create index x${n} on kine (lease)`)
        .join('; '),
    )
    assert.is((await read()).kind, 'rows')
    await mallory.node.unsafe('create index x10 on kine (lease)')
    assert.equal(await read(), { kind: 'tampered', what: 'it has more than 16 indexes' })
  })

  for (const [what, swap, says] of [
    ['table', `drop table kine; ${kineTable}`, 'it was swapped while it was looked at'],
    ['view', 'alter table kine rename to real; create view kine as select * from real', 'kine is no plain table'],
  ] as const) {
    test(`refuses a ${what} that its snapshot does not show`, async () => {
      await mallory.node.unsafe(kineTable)
      const server_ = { url: server.url, connection: {} }
      const old = kept(connectObserver(server_, sharedLoginPassword(key, observerRole)))
      await old.unsafe('begin isolation level repeatable read read only; select from pg_catalog.pg_class limit 1')
      await mallory.node.unsafe(swap)
      try {
        await old.unsafe(guarded(mallory.id, ids))
        assert.unreachable('was read')
      } catch (error) {
        assert.equal(refusal(error), { kind: 'tampered', what: says })
      }
    })
  }

  test('lets hostile code say nothing in its own words', async () => {
    await mallory.node.unsafe(`${kineTable}
      create function say() returns boolean immutable language plpgsql as $$ begin
        if session_user <> 'rollcall_observer' then return true; end if;
        raise exception using errcode = 'RC001', message = e'all \\x1b[32mis\\n<b>well</b>'; end $$;
      create index i on kine (id) where say()`)
    const result = await clusters.unguarded(() => read())
    assert.equal(result, ours)
  })
}
