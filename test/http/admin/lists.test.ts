import * as assert from 'uvu/assert'
import { enrollments } from '../../../src/store/schema.ts'
import { type AdminDesk, clusterInput, openAdminDesk, profileInput } from '../../fakes/admin-desk.ts'
import { suite } from '../../suite.ts'

const test = suite('/enrollments and /audit')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await desk.call('POST', '/clusters', clusterInput('site-a', { api_endpoint: 'https://a.test:6443' }))
  await desk.call('POST', '/profiles', profileInput('agent'))
  for (const serial of ['SN-1', 'SN-2']) {
    await desk.call('POST', '/devices', { serial, profile: 'agent', cluster: 'site-a' })
    await enrol(serial, `enr_${serial}-old`, true)
    await enrol(serial, `enr_${serial}`, false)
  }
})
test.after(() => desk.world.end())

const secrets = ['c1', 'd0', 'e2', 'f3', 'a4', 'b5']

/** An enrollment as the device routes leave it, each secret recognisable. */
async function enrol(serial: string, id: string, ended: boolean) {
  const { db, sql, clock } = desk.world
  const [row] = await sql`
    select d.id as device, d.cluster_id as cluster, d.profile_id as profile from devices d where d.serial = ${serial}`
  const at = new Date(clock.now * 1000)
  const bytes = (i: number) => Buffer.concat([Buffer.from((secrets[i] as string).repeat(16), 'hex'), Buffer.from(id)])
  await db.insert(enrollments).values({
    id,
    deviceId: row?.device,
    clusterId: row?.cluster,
    profileId: row?.profile,
    profileRevision: 1,
    role: 'agent',
    hostname: serial.toLowerCase(),
    assurance: 'key',
    claimHash: bytes(0),
    createdAt: at,
    documentType: 'text/cloud-config',
    documentDigest: '00'.repeat(32),
    documentSealed: ended ? null : bytes(1),
    joinHash: bytes(2),
    joinSealed: bytes(3),
    joinExpiresAt: new Date((clock.now + 3_600) * 1000),
    reportHash: bytes(4),
    reportExpiresAt: new Date((clock.now + 2_592_000) * 1000),
    nodeHash: bytes(5),
    endedAt: ended ? at : null,
    endReason: ended ? 'replaced' : null,
  })
}

const ids = (answer: { body: { items: { id: string }[] } }) => answer.body.items.map((item) => item.id)

test('404: an enrollment that never was', async () => {
  assert.is((await desk.call('GET', '/enrollments/enr_none')).status, 404)
})

test('lists newest first, by device in any case, and by cluster', async () => {
  const all = await desk.call('GET', '/enrollments')
  assert.equal(ids(all), ['enr_SN-2-old', 'enr_SN-2', 'enr_SN-1-old', 'enr_SN-1'])
  assert.equal(ids(await desk.call('GET', '/enrollments?device=sn-1')), ['enr_SN-1-old', 'enr_SN-1'])
  assert.is(ids(await desk.call('GET', '/enrollments?cluster=site-a')).length, 4)
  assert.equal(ids(await desk.call('GET', '/enrollments?cluster=site-b')), [])
  const page = await desk.call('GET', '/enrollments?limit=3')
  assert.equal(ids(await desk.call('GET', `/enrollments?cursor=${page.body.next_cursor}`)), ['enr_SN-1'])
})

test('shows what became of one, and none of its secrets', async () => {
  const { body, text, headers } = await desk.call('GET', '/enrollments/enr_SN-1', undefined, { as: 'read' })
  assert.ok(headers.get('etag'))
  assert.is(body.device, 'SN-1')
  assert.is(body.cluster, 'site-a')
  assert.is(body.live, true)
  assert.is(body.join_expires_at, desk.world.clock.now + 3_600)
  const list = (await desk.call('GET', '/enrollments')).text
  for (const secret of secrets) assert.not.ok((text + list).includes(secret.repeat(4)))
  assert.is((await desk.call('GET', '/enrollments/enr_SN-1-old')).body.end_reason, 'replaced')
})

test('the cluster shows its live nodes', async () => {
  const { body } = await desk.call('GET', '/clusters/site-a')
  assert.equal(
    body.nodes.map((node: { name: string; serial: string }) => [node.name, node.serial]),
    [
      ['sn-1', 'SN-1'],
      ['sn-2', 'SN-2'],
    ],
  )
})

test('the audit log is newest first, whole over pages, and narrowed by target', async () => {
  const whole = await desk.call('GET', '/audit?limit=500', undefined, { as: 'read' })
  const seen: unknown[] = []
  let cursor = ''
  do {
    const { body } = await desk.call('GET', `/audit?limit=2${cursor && `&cursor=${cursor}`}`)
    seen.push(...body.items)
    cursor = body.next_cursor ?? ''
  } while (cursor)
  assert.equal(seen, whole.body.items)
  assert.is(whole.body.items.at(-1).action, 'token.create')
  const { body } = await desk.call('GET', '/audit?target=cluster:site-a')
  assert.equal(
    body.items.map((item: { action: string }) => item.action),
    ['cluster.create'],
  )
  assert.is((await desk.call('GET', '/audit?target=%00')).status, 422)
})
