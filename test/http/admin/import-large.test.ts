import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { deriveAlternative } from '../../../src/roll/hostname.ts'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /devices/import, of many lines', { timeout: 120_000 })
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await addProfile(desk.world, { name: 'edge', role: 'agent' })
  await addCluster(desk.world, { name: 'site-a' })
  await addCluster(desk.world, { name: 'site-b' })
})
test.after(() => desk.world.end())

const csv = (...lines: string[]) => `${lines.join('\n')}\n`
const send = async (body: string | ReadableStream, query = '') => {
  const headers = { authorization: `Bearer ${desk.tokens.write}`, 'content-type': 'text/csv' }
  const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
  const answer = await desk.app.request(`/api/v1/devices/import?${query}`, init)
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  return { status: answer.status, body: (await answer.json()) as any }
}
const many = (n: number, line: (i: number) => string) => Array.from({ length: n }, (_, i) => line(i))
const device = async (serial: string) => (await desk.call('GET', `/devices/${encodeURIComponent(serial)}`)).body
const count = async () => (await desk.world.sql`select count(*)::int as n from devices`)[0]?.n as number

test('422, and counts every refused line, of which it shows 10,000', async () => {
  const before = await count()
  const file = csv(
    'serial,profile,cluster',
    ...many(4_000, (i) => `twice,edge,${i === 0 ? '' : 'site-a'}`),
    ...many(4_000, (i) => `nowhere ${i},none-${i},`),
    ...many(4_000, (i) => `astray ${i},edge,none-${i}`),
    'good,edge,site-a',
  )
  const dry = (await send(file, 'dry_run=true')).body
  assert.equal([dry.created, dry.refused_total, dry.refused.length], [2, 11_999, 10_000])
  const answer = await send(file)
  const { detail, errors } = answer.body
  assert.equal([answer.status, detail], [422, 'nothing was written: 11999 lines were refused'])
  assert.equal(errors[0], { path: 'serial', line: 3, reason: 'stands in line 2 already' })
  assert.equal(errors[3_999], { path: 'profile', line: 4_002, reason: 'there is no such profile' })
  assert.equal(errors[7_999], { path: 'cluster', line: 8_002, reason: 'there is no such cluster' })
  assert.is(await count(), before)
  const { refused: _, ...part } = (await send(file, 'partial=true')).body
  assert.equal(part, { created: 2, updated: 0, unchanged: 0, refused_total: 11_999 })
  assert.is(await count(), before + 2)
})

test('200: writes each line once, whatever range of lines it stands in, and with all that belongs to it', async () => {
  const key = (i: number) => `${String(i).padStart(5, '0')}${'A'.repeat(38)}`
  const file = csv(
    'serial,profile,cluster,identity.thumbprint,note',
    ...many(25_003, (i) => `R ${i},edge,${i % 3 ? 'site-b' : ''},${i % 2 ? key(i) : ''},n${i}`),
  )
  const expected = { created: 25_003, updated: 0, unchanged: 0, refused: [], refused_total: 0 }
  assert.equal((await send(file)).body, expected)
  const [sum] = await desk.world.sql`
    select count(*)::int as devices, count(hostname)::int as names, count(distinct d.id)::int as ids,
      count(*) filter (where d.note <> 'n' || substr(d.serial, 3))::int as wrong,
      (select count(*)::int from identities i join devices k on k.id = i.device_id where k.serial like 'R %') as keys,
      (select count(*)::int from events e join devices k on k.id = e.device_id where k.serial like 'R %') as events
    from devices d where serial like 'R %'`
  const half = 12_501
  assert.equal(sum, { devices: 25_003, names: 16_668, ids: 25_003, wrong: 0, keys: half, events: 25_003 })
  const unchanged = { ...expected, created: 0, unchanged: 25_003 }
  assert.equal((await send(file)).body, unchanged)
  const next = csv('serial,note', ...many(25_003, (i) => `r ${i},${i % 2 ? `n${i}` : 'other'}`))
  assert.equal((await send(next)).body, { ...expected, created: 0, updated: 12_502, unchanged: half })
  const [told] = await desk.world.sql`
    select count(*)::int as n, count(distinct d.id)::int as devices from events e join devices d on d.id = e.device_id
    where e.name = 'changed' and d.note = 'other' and d.version = 2 and e.detail -> 'changed' = '["note"]'`
  assert.equal(told, { n: 12_502, devices: 12_502 })
})

test('first wishes come before other names, and earlier lines before later ones, new devices and known ones alike', async () => {
  const other = deriveAlternative('W/1')
  await send(csv('serial,profile,cluster', 'Known 1,edge,site-a', 'Known 2,edge,site-a', 'W/2,edge,site-b'))
  const file = csv(
    'serial,profile,cluster,hostname',
    'W 1,edge,site-a,',
    'W/1,edge,site-a,',
    'W 2,edge,site-a,',
    ...many(1_500, (i) => `between ${i},edge,,`),
    // Moves, and finds the name that it had given to an earlier line.
    'W/2,,site-a,',
    `Known 1,,,${other}`,
    'Known 2,,,w-1',
    'W 3,edge,site-a,known-1',
  )
  const answer = (await send(file, 'partial=true')).body
  const taken = (line: number, serial: string, name: string) => ({
    line,
    serial,
    reason: `hostname: another device of the cluster has ${name}, or had it`,
  })
  assert.equal(answer, {
    created: 1_502,
    updated: 2,
    unchanged: 0,
    refused: [taken(3, 'W/1', 'w-1'), taken(1_507, 'Known 2', 'w-1'), taken(1_508, 'W 3', 'known-1')],
    refused_total: 3,
  })
  const names = await Promise.all(
    ['W 1', 'W 2', 'W/2', 'Known 1'].map(async (serial) => (await device(serial)).hostname),
  )
  assert.equal(names, ['w-1', 'w-2', deriveAlternative('W/2'), other])
  const { items } = (await desk.call('GET', `/devices/${encodeURIComponent('W/2')}/timeline`)).body
  assert.equal(items.at(-1).detail.changed, ['cluster', 'hostname'])
  assert.is((await device('W/1')).code, 'not_found')
})

test('holds no device while a sender is slow: the file is judged by what is on the roll when it has come whole', async () => {
  let feed: ReadableStreamDefaultController<Uint8Array> | undefined
  const slow = new ReadableStream<Uint8Array>({
    start: (controller) => {
      feed = controller
    },
  })
  feed?.enqueue(Buffer.from(csv('serial,profile,note', ...many(3_000, (i) => `slow-${i},edge,`))))
  const running = send(slow)
  await sleep(500)
  const made = await desk.call('POST', '/devices', { serial: 'slow-7', profile: 'edge' })
  assert.is(made.status, 201)
  feed?.enqueue(Buffer.from(csv('SLOW-7,edge,again')))
  feed?.enqueue(Buffer.from('last,edge,'))
  feed?.close()
  const { detail } = (await running).body
  assert.is(detail, 'nothing was written: 1 line was refused')
  const good = await send(csv('serial,profile,note', ...many(3_000, (i) => `slow-${i},edge,`)))
  assert.equal(good.body, { created: 2_999, updated: 0, unchanged: 1, refused: [], refused_total: 0 })
})
