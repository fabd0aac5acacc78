import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { managedEnv } from '../../src/k3s/datastore.ts'
import { managedEndpoint } from '../../src/k3s/datastore-address.ts'
import { clustersDatabase, loginRole } from '../../src/k3s/datastore-names.ts'
import { closeAdvisoryLocks } from '../../src/postgres/advisory-locks.ts'
import { managedOn, namesIn, newCluster, newEnrollment, passwordOf } from '../datastore/node.ts'
import { suite } from '../suite.ts'
import { majors, type Throwaway, throwawayPostgres } from '../throwaway-postgres.ts'
import { testsWithKine } from './program.ts'
import { type Kine, startKine } from './start.ts'

for (const major of majors) {
  const test = suite(`the real kine on a managed datastore, PostgreSQL ${major}`, { timeout: 90_000 })
  const withKine = testsWithKine(test)
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-kine-'))
  const cafile = join(directory, 'ca.pem')
  let server: Throwaway
  let managed: ManagedDatastore
  const running: Kine[] = []

  test.before(async () => {
    server = await throwawayPostgres(major)
    managed = managedOn(server)
    await managed.ready()
    // As in the embedded PostgreSQL: kine needs no advisory lock.
    await closeAdvisoryLocks(server.superuser(clustersDatabase))
    writeFileSync(cafile, server.ca)
  })
  test.after.each(async () => {
    await Promise.all(running.splice(0).map((kine) => kine.stop()))
  })
  test.after(async () => {
    await managed?.close()
    await server?.stop()
    rmSync(directory, { recursive: true })
  })

  async function login(cluster: string): Promise<string> {
    const enrollment = newEnrollment()
    await managed.makeLogin(cluster, enrollment, passwordOf(enrollment))
    return enrollment
  }

  /** As a server's document and environment have it. */
  async function serverOf(enrollment: string, address = managed.address): Promise<Kine> {
    const endpoint = managedEndpoint(address, { role: loginRole(enrollment), password: passwordOf(enrollment) })
    const kine = await startKine({ endpoint, cafile, env: managedEnv })
    running.push(kine)
    return kine
  }

  withKine('two servers of a cluster share what they keep, and no other cluster sees it', async () => {
    const [cluster, other] = [newCluster(), newCluster()]
    await managed.declare(cluster)
    await managed.declare(other)
    const first = await serverOf(await login(cluster))
    await first.client.create('/registry/minions/a', Buffer.from('one'))
    const second = await serverOf(await login(cluster))
    assert.is((await second.client.get('/registry/minions/a'))?.value.toString(), 'one')
    const stranger = await serverOf(await login(other))
    assert.is(await stranger.client.get('/registry/minions/a'), undefined)
    assert.is((await namesIn(managed, cluster)).includes('/registry/minions/a'), true)
    assert.is((await namesIn(managed, other)).includes('/registry/minions/a'), false)
  })

  withKine('a fenced server writes nothing any more; the other goes on with what both wrote', async () => {
    const cluster = newCluster()
    await managed.declare(cluster)
    const [fenced, left] = [await login(cluster), await login(cluster)]
    const first = await serverOf(fenced)
    await first.client.create('/registry/minions/a', Buffer.from('one'))
    const second = await serverOf(left)
    await managed.dropLogin(cluster, fenced)
    const refused = /is not permitted to log in|password authentication failed|terminating connection/
    // The first refusal may be of a connection that it lost before it could read why.
    for (let again = 0; again === 0 || (again < 50 && !refused.test(first.out())); again++) {
      await assertRejects(first.client.create('/registry/minions/b', Buffer.from('two')))
      await sleep(100)
    }
    assert.match(first.out(), refused)
    assert.is((await second.client.get('/registry/minions/a'))?.value.toString(), 'one')
    await second.client.create('/registry/minions/c', Buffer.from('three'))
  })

  withKine('a backup of one cluster is the datastore of another', async () => {
    const [cluster, copy] = [newCluster(), newCluster()]
    await managed.declare(cluster)
    const first = await serverOf(await login(cluster))
    for (let n = 0; n < 50; n++) await first.client.create(`/registry/x/${n}`, Buffer.from(`value ${n}`))
    await managed.copyOut(cluster, async (rows) => managed.copyIn(copy, Readable.from([await buffer(rows)]), false))
    const restored = await serverOf(await login(copy))
    assert.is((await restored.client.get('/registry/x/42'))?.value.toString(), 'value 42')
    assert.is((await restored.client.list('/registry/x/')).length, 50)
    await restored.client.create('/registry/x/new', Buffer.from('more'))
    assert.is(await first.client.get('/registry/x/new'), undefined)
  })

  withKine('of several hosts it takes the one that answers, and is verified there too', async () => {
    const cluster = newCluster()
    await managed.declare(cluster)
    const kine = await serverOf(await login(cluster), `localhost:1,localhost:${server.port}`)
    await kine.client.create('/registry/minions/a', Buffer.from('one'))
    assert.is((await namesIn(managed, cluster)).includes('/registry/minions/a'), true)
  })

  withKine('a storm of requests takes no more connections than its login has', async () => {
    const cluster = newCluster()
    await managed.declare(cluster)
    const enrollment = await login(cluster)
    const kine = await serverOf(enrollment)
    const storm = Array.from({ length: 300 }, (_, n) => kine.client.create(`/registry/x/${n}`, Buffer.alloc(2_000)))
    await Promise.all(storm)
    const sessions = await server.superuser()`select from pg_stat_activity where usename = ${loginRole(enrollment)}`
    assert.ok(sessions.length > 1 && sessions.length <= 30, `${sessions.length} sessions`)
  })
}

async function assertRejects(work: Promise<unknown>): Promise<void> {
  let worked = true
  await work.catch(() => {
    worked = false
  })
  assert.is(worked, false)
}
