import { readFileSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type postgres from 'postgres'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { endStuckReads } from '../../src/datastore/stuck-reads.ts'
import { clustersDatabase, ownerRole } from '../../src/k3s/datastore-names.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { kineTable, managedOn, namesIn, newCluster, newEnrollment, nodeSession, passwordOf } from './node.ts'

for (const major of majors) {
  const test = suite(`copies of a cluster’s rows, PostgreSQL ${major}`, { timeout: 60_000 })
  let server: Throwaway
  let managed: ManagedDatastore
  const open: postgres.Sql[] = []

  test.before(async () => {
    server = await throwawayPostgres(major)
    managed = managedOn(server)
  })
  test.after.each(async () => {
    await Promise.all(open.splice(0).map((sql) => sql.end({ timeout: 1 })))
  })
  test.after(async () => {
    await managed?.close()
    await server?.stop()
  })

  /** A cluster with a node that may do to its schema what it likes. */
  async function begun(...statements: string[]) {
    const [cluster, enrollment] = [newCluster(), newEnrollment()]
    await managed.declare(cluster)
    await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    const node = nodeSession(server, enrollment)
    open.push(node)
    for (const statement of statements) await node.unsafe(statement)
    return { cluster, node, owner: ownerRole(cluster) }
  }
  async function declared(): Promise<string> {
    const cluster = newCluster()
    await managed.declare(cluster)
    return cluster
  }
  async function copyOf(cluster: string): Promise<Buffer> {
    let rows = Buffer.alloc(0)
    await managed.copyOut(cluster, async (stream) => {
      rows = await buffer(stream)
    })
    return rows
  }
  async function* pieces(rows: Buffer, size = 1_000): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < rows.length; at += size) yield rows.subarray(at, at + size)
  }
  async function detailOf(work: Promise<unknown>): Promise<string> {
    try {
      await work
      return 'it worked'
    } catch (error) {
      const { detail, code } = error as { detail?: string; code?: string }
      return detail ?? (code ? `SQLSTATE ${code}` : (error as Error).message)
    }
  }

  const rows = `insert into kine (name, created, deleted, create_revision, prev_revision, lease, value, old_value) values
    ('/bootstrap/0123456789ab', 1, 0, 0, 0, 0, '\\x00ff0a5c097b', null),
    ('/registry/odd \\N \\. \t \n {"rows":1} é', 1, 0, 1, 0, null, '', '\\x7b'),
    ('/registry/large', 1, 0, 2, 0, 0, decode(repeat('ab', 300000), 'hex'), null)`

  test('a cluster without a table, and one whose table is not K3s’, are refused', async () => {
    assert.is(await detailOf(copyOf(await declared())), 'its table is not there: no server of it has started yet')
    const { cluster } = await begun(`create view kine as select 1 as id, 'x'::text as name`)
    assert.match(await detailOf(copyOf(cluster)), /^datastore_tampered: /)
    const { cluster: guarded, node } = await begun(kineTable)
    await node.unsafe('alter table kine enable row level security')
    assert.match(await detailOf(copyOf(guarded)), /^datastore_tampered: .*row security/)
  })

  test('nobody is handed the rows of a cluster that is refused', async () => {
    const use = async () => assert.unreachable('was handed rows')
    assert.match(await detailOf(managed.copyOut(await declared(), use)), /^its table is not there/)
  })

  test('a table that is held is waited for, and its rows are handed out once', async () => {
    const { cluster, node } = await begun(kineTable, rows)
    let uses = 0
    await node.unsafe('begin; lock table kine in access exclusive mode')
    const copy = managed.copyOut(cluster, async (stream) => {
      uses++
      for await (const _ of stream);
    })
    await sleep(300)
    assert.is(uses, 0)
    await node.unsafe('commit')
    await copy
    assert.is(uses, 1)
  })

  test('a table that is held for longer is refused', async () => {
    const { cluster, node } = await begun(kineTable, rows)
    await node.unsafe('begin; lock table kine in access exclusive mode')
    assert.is(await detailOf(copyOf(cluster)), 'it cannot be read now: somebody holds the table locked')
  })

  test('what takes the rows may fail, and the next copy works', async () => {
    const { cluster } = await begun(kineTable, rows)
    const full = async (stream: Readable) => {
      for await (const _ of stream) throw new Error('no space left')
    }
    assert.is(await detailOf(managed.copyOut(cluster, full)), 'no space left')
    assert.is((await copyOf(cluster)).length > 600_000, true)
  })

  test('a copy that takes longer than any read may is not ended with those that are stuck', async () => {
    const { cluster } = await begun(
      kineTable,
      rows,
      'insert into kine (value) select value from kine, generate_series(1, 9)',
    )
    const superuser = server.superuser(clustersDatabase)
    let bytes = 0
    await managed.copyOut(cluster, async (stream) => {
      assert.equal(await endStuckReads(superuser, 0.5), [])
      for await (const chunk of stream) bytes += chunk.length
    })
    assert.ok(bytes > 6_000_000, `${bytes}`)
  })

  test('a copy whose session is ended says so', async () => {
    const { cluster } = await begun(
      kineTable,
      rows,
      'insert into kine (value) select value from kine, generate_series(1, 9)',
    )
    const superuser = server.superuser(clustersDatabase)
    const said = await detailOf(
      managed.copyOut(cluster, async (stream) => {
        await superuser`select pg_terminate_backend(pid) from pg_stat_activity where starts_with(query, 'copy (')`
        for await (const _ of stream);
      }),
    )
    assert.is(said, 'PostgreSQL ended the copy, or went away')
  })

  test('what is no row is not kept, whatever it says', async () => {
    for (const text of [
      'drop table kine;\n',
      '1\tname\n',
      `1\tname\t1\t0\t0\t0\t0\t\\\\x00\t\\N\tmore\n`,
      '{"rows":0}\n',
    ]) {
      const cluster = await declared()
      assert.match(
        await detailOf(managed.copyIn(cluster, pieces(Buffer.from(text)), false)),
        /^SQLSTATE 22P0[24]$/,
        text,
      )
      assert.equal(await namesIn(managed, cluster), 'absent')
    }
  })

  test('a table that is there is refused, and stays as it is', async () => {
    const { cluster } = await begun(kineTable, rows)
    const before = await copyOf(cluster)
    const other = Buffer.from('1\t/other\t1\t0\t0\t0\t0\t\\\\x00\t\\N\n')
    assert.match(await detailOf(managed.copyIn(cluster, pieces(other), false)), /is not empty: say replace/)
    assert.equal(await copyOf(cluster), before)
  })

  test('a replacement that breaks off leaves what was there', async () => {
    const { cluster } = await begun(kineTable, rows)
    const before = await copyOf(cluster)
    async function* broken() {
      yield before
      throw new Error('the disk is gone')
    }
    assert.is(await detailOf(managed.copyIn(cluster, broken(), true)), 'the disk is gone')
    assert.equal(await copyOf(cluster), before)
  })

  test('a copy is the same rows, in a table that kine itself would have made', async () => {
    const { cluster } = await begun(kineTable, rows)
    const copy = await copyOf(cluster)
    const target = await declared()
    await managed.copyIn(target, pieces(copy, 7_777), false)
    assert.equal(await copyOf(target), copy)
    const inside = server.superuser('rollcall_k3s')
    const owner = ownerRole(target)
    const indexes = await inside<{ indexdef: string }[]>`select indexdef from pg_indexes where schemaname = ${owner}`
    const made = readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-table.txt', import.meta.url), 'utf8')
    assert.equal(
      indexes.map(({ indexdef }) => indexdef.replace(` ${owner}.`, ' public.')).sort(),
      made
        .split('\n')
        .filter((line) => line.startsWith('CREATE'))
        .sort(),
    )
    const [table] = await inside`select tableowner from pg_tables where schemaname = ${owner}`
    assert.is(table?.tableowner, owner)
    const enrollment = newEnrollment()
    await managed.makeLogin(target, enrollment, passwordOf(enrollment))
    const node = nodeSession(server, enrollment)
    open.push(node)
    const [next] = await node`insert into kine (name) values ('/registry/next') returning id::int`
    assert.is(next?.id, 4)
  })

  test('a replacement drops whatever was in its place', async () => {
    const { cluster: source } = await begun(kineTable, rows)
    const copy = await copyOf(source)
    const { cluster, node, owner } = await begun(
      'create table secret (n int)',
      'create view kine as select * from secret',
      `create function trap() returns trigger language plpgsql as $$ begin raise exception 'trapped'; end $$`,
      'create sequence kine_id_seq',
      `create type bytea as enum ('x')`,
    )
    await node.unsafe('set role none; create table mine (n int)')
    await managed.copyIn(cluster, pieces(copy), true)
    assert.equal(await copyOf(cluster), copy)
    const left = await server.superuser(
      'rollcall_k3s',
    )`select relname from pg_class where relnamespace = ${owner}::regnamespace and relkind in ('r', 'v')`
    assert.equal(
      left.map((row) => row.relname),
      ['kine'],
    )
  })

  test('an empty table is copied as well, and its first id is one', async () => {
    const { cluster } = await begun(kineTable)
    const target = await declared()
    await managed.copyIn(target, pieces(await copyOf(cluster)), false)
    assert.equal(await namesIn(managed, target), [])
  })
}
