import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { clusters } from '../../../src/store/declared-schema.ts'
import { enrollments } from '../../../src/store/schema.ts'
import { type Desk, openDesk, problemOf } from '../../fakes/desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addDevice, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /v1/join')

let desk: Desk
let profile: string
let count = 0

test.before(async () => {
  desk = await openDesk()
  profile = await addProfile(desk.world)
})
test.after(() => desk.world.end())

/** A server that has its document, and the ticket in it. */
async function enrolled(cluster?: string) {
  count++
  const device = new FakeDevice(`SRV-${count}`)
  const clusterId = cluster ?? (await addCluster(desk.world, { name: `join-${count}` }))
  const id = await addDevice(desk.world, device, { profile, cluster: clusterId })
  const document = await (await desk.enrol(device)).text()
  return { device, id, ticket: ticketIn(document), report: reportIn(document) }
}

const ticketIn = (document: string) => /ROLLCALL_JOIN='?([A-Za-z0-9_-]{40,})/.exec(document)?.[1] as string
const reportIn = (document: string) => /\/v1\/report\/([A-Za-z0-9_-]+)/.exec(document)?.[1] as string
const proof = async (device: FakeDevice, ticket: string, change = {}) =>
  device.joinProof(await desk.nonce(), ticket, change)
const codeOf = async (answer: Promise<Response>) => {
  const { status, code } = await problemOf(await answer)
  return `${status} ${code}`
}

test('refuses a ticket that is missing, unknown, or an agent token', async () => {
  const { device } = await enrolled()
  assert.is(await codeOf(Promise.resolve(desk.app.request('/v1/join', { method: 'POST' }))), '401 token_invalid')
  const unknown = 'x'.repeat(43)
  assert.is(await codeOf(desk.redeem(unknown, await proof(device, unknown))), '401 token_invalid')
})

test('refuses a missing or wrong proof, and the ticket stays good', async () => {
  const { device, ticket } = await enrolled()
  const other = new FakeDevice(device.serial)
  assert.is(await codeOf(desk.redeem(ticket)), '401 bad_signature')
  assert.is(await codeOf(desk.redeem(ticket, await proof(other, ticket))), '401 bad_signature')
  assert.is(await codeOf(desk.redeem(ticket, await proof(device, 'another ticket'))), '401 bad_signature')
  assert.is(await codeOf(desk.redeem(ticket, await proof(device, ticket, { sub: 'SRV-0' }))), '401 bad_signature')
  assert.is(await codeOf(desk.redeem(ticket, device.claim(await desk.nonce()))), '400 header_invalid')
  assert.is((await desk.redeem(ticket, await proof(device, ticket))).status, 200)
})

test('gives the bare server token, again to the same key, and to the byte-identical proof', async () => {
  const { device, ticket } = await enrolled()
  const first = await proof(device, ticket)
  const answer = await desk.redeem(ticket, first)
  assert.is(answer.headers.get('content-type')?.split(';')[0], 'text/plain')
  const token = await answer.text()
  assert.match(token, /^[0-9a-f]{64}$/)
  assert.is(await (await desk.redeem(ticket, first)).text(), token)
  assert.is(await (await desk.redeem(ticket, await proof(device, ticket))).text(), token)
})

test('lets a nonce serve one proof', async () => {
  const { device, ticket } = await enrolled()
  const nonce = await desk.nonce()
  assert.is((await desk.redeem(ticket, device.joinProof(nonce, ticket))).status, 200)
  assert.is(await codeOf(desk.redeem(ticket, device.joinProof(nonce, ticket))), '409 claim_replayed')
})

test('ends with the join, with the ticket, with revocation', async () => {
  const joined = await enrolled()
  await desk.report(joined.report, { step: 'k3s.ready', result: 'ok' })
  assert.is(await codeOf(desk.redeem(joined.ticket, await proof(joined.device, joined.ticket))), '401 token_invalid')

  const late = await enrolled()
  desk.world.clock.now += 3_601
  assert.is(await codeOf(desk.redeem(late.ticket, await proof(late.device, late.ticket))), '401 token_invalid')

  const revoked = await enrolled()
  await desk.world.db.update(enrollments).set({ endedAt: new Date() }).where(eq(enrollments.deviceId, revoked.id))
  assert.is(await codeOf(desk.redeem(revoked.ticket, await proof(revoked.device, revoked.ticket))), '401 token_invalid')
})

test('lets one of many servers of a new cluster go first; the others wait, and their tickets live on', async () => {
  const datastore = { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' } as const
  const cluster = await addCluster(desk.world, { name: 'ha', caHash: null, state: 'virgin', datastore })
  const boxes: Awaited<ReturnType<typeof enrolled>>[] = []
  for (let i = 0; i < 10; i++) boxes.push(await enrolled(cluster))
  const ask = async () => Promise.all(boxes.map(async (b) => desk.redeem(b.ticket, await proof(b.device, b.ticket))))
  const answers = await ask()
  assert.is(answers.filter((a) => a.status === 200).length, 1)
  const waiting = answers.find((a) => a.status !== 200) as Response
  assert.ok(Number(waiting.headers.get('retry-after')) > 0)
  assert.is((await problemOf(waiting)).code, 'cluster_not_ready')
  const [row] = await desk.world.db.select().from(clusters).where(eq(clusters.id, cluster))
  assert.is(row?.state, 'initializing')

  desk.world.clock.now += 3_000
  assert.is((await ask()).filter((a) => a.status === 200).length, 1)
  desk.world.clock.now += 3_000
  await desk.world.db
    .update(clusters)
    .set({ caHash: 'cd'.repeat(32), state: 'up' })
    .where(eq(clusters.id, cluster))
  const waiters = answers.map((a, i) => (a.status === 200 ? undefined : boxes[i])).filter((b) => b !== undefined)
  for (const b of waiters) assert.is((await desk.redeem(b.ticket, await proof(b.device, b.ticket))).status, 200)
})

test('says that a compromised cluster lets no server in', async () => {
  const cluster = await addCluster(desk.world, { name: 'leaked' })
  const { device, ticket } = await enrolled(cluster)
  await desk.world.db.update(clusters).set({ state: 'compromised' }).where(eq(clusters.id, cluster))
  assert.is(await codeOf(desk.redeem(ticket, await proof(device, ticket))), '503 cluster_not_ready')
  assert.is(await codeOf(desk.enrol(device)), '503 cluster_not_ready')
})
