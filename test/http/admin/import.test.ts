import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { serve } from '@hono/node-server'
import * as assert from 'uvu/assert'
import { listenHttp } from '../../../src/server.ts'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addEnrollment } from '../../fakes/enrollment.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST /devices/import')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await addProfile(desk.world, { name: 'edge', role: 'agent' })
  await addProfile(desk.world, { name: 'hard', role: 'agent', min_assurance: 'hardware' })
  await addCluster(desk.world, { name: 'site-a' })
  await addCluster(desk.world, { name: 'endless', apiEndpoint: null })
})
test.after(() => desk.world.end())

type Options = { query?: string; type?: string; as?: 'read' | 'write' | 'admin'; headers?: Record<string, string> }
const send = (body: string, { query = '', type = 'text/csv', as = 'write', headers = {} }: Options = {}) =>
  desk.call('POST', `/devices/import?${query}`, body, { as, headers: { 'content-type': type, ...headers } })
const csv = (...lines: string[]) => `${lines.join('\n')}\n`
const device = async (serial: string) => (await desk.call('GET', `/devices/${encodeURIComponent(serial)}`)).body
const nothing = { created: 0, updated: 0, unchanged: 0, refused: [], refused_total: 0 }

/** Begins to send a file over a real socket and ends in the middle. */
async function cutOff(headers = '') {
  const listener = await listenHttp('127.0.0.1', 0)
  let answer: Promise<Response> | undefined
  listener.serve({
    fetch: (request, env) => {
      answer = Promise.resolve(desk.app.fetch(request, env))
      return answer
    },
  })
  const head = `POST /api/v1/devices/import HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${desk.tokens.write}\r\n`
  const socket = connect(listener.port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(`${head}${headers}Content-Type: text/csv\r\nContent-Length: 5000\r\n\r\nserial,profile\ncut-1,edge\n`)
  while (!(await importing())) await sleep(20)
  socket.destroy()
  const status = await Promise.race([answer?.then((r) => r.status), sleep(2_000, 'never', { ref: false })])
  await listener.drain(0)
  return status
}
const importing = async () => {
  const [row] = await desk.world.sql`
    select count(*)::int as n from pg_stat_activity a join pg_locks l using (pid)
    where a.datname = current_database() and l.locktype = 'advisory' and a.state = 'idle in transaction'`
  return row?.n > 0
}

test('an upload that is cut off is undone: the next import begins at once', async () => {
  for (const headers of ['', 'Idempotency-Key: cut\r\n']) {
    assert.is(await cutOff(headers), 400)
    assert.is(await importing(), false)
    assert.is((await send(csv('serial,profile', 'cut-2,edge'), { query: 'dry_run=true' })).status, 200)
  }
  assert.is((await desk.call('GET', '/devices/cut-1')).status, 404)
})

test('403, 415: needs scope write, and a file that it can read', async () => {
  assert.is((await send(csv('serial'), { as: 'read' })).status, 403)
  assert.is((await send('{}', { type: 'application/json' })).body.code, 'media_type')
  assert.is((await send(csv('serial'), { type: 'text/csv; charset=utf-16' })).body.code, 'media_type')
  assert.is((await send('x', { headers: { 'content-encoding': 'gzip' } })).body.code, 'media_type')
  assert.is((await send(csv('serial'), { query: 'partial=maybe' })).status, 422)
})

test('422 for a column that it does not know, dry run or not', async () => {
  for (const query of ['', 'dry_run=true', 'partial=true']) {
    const answer = await send(csv('serial,colour', 'A-1,red'), { query })
    assert.is(answer.status, 422)
    assert.equal(answer.body.errors, [{ path: 'colour', line: 1, reason: 'there is no such column' }])
  }
  assert.is((await send('')).status, 422)
})

test('422 with the line of each refusal, and nothing is written', async () => {
  const file = csv(
    'serial,profile,cluster,macs',
    'ok-1,edge,,',
    ',edge,,',
    'ok-2,none,,',
    'ok-3,edge,none,',
    'OK-1,edge,,',
    'ok-4,edge,endless,',
    'ok-5,,,',
    'ok-6,edge,,x;y',
  )
  const answer = await send(file)
  assert.is(answer.status, 422)
  assert.equal(
    answer.body.errors.map((e: { line: number; path: string }) => [e.line, e.path]),
    [
      [3, 'serial'],
      [4, 'profile'],
      [5, 'cluster'],
      [6, 'serial'],
      [7, 'cluster'],
      [8, 'profile'],
      [9, ''],
    ],
  )
  assert.is(answer.body.errors[3].reason, 'stands in line 2 already')
  assert.is((await desk.call('GET', '/devices/ok-1')).status, 404)

  const dry = await send(file, { query: 'dry_run=true' })
  assert.is(dry.status, 200)
  assert.equal(
    { ...dry.body, refused: dry.body.refused.length },
    { ...nothing, created: 1, refused: 7, refused_total: 7 },
  )
  assert.equal(dry.body.refused[3], { line: 6, serial: 'OK-1', reason: 'serial: stands in line 2 already' })
  assert.is((await desk.call('GET', '/devices/ok-1')).status, 404)

  const part = await send(file, { query: 'partial=true' })
  assert.is(part.status, 200)
  assert.is(part.body.created, 1)
  assert.is((await device('ok-1')).state, 'registered')
})

test('200: creates, leaves alone what is the same, and updates what is given', async () => {
  const key = new FakeDevice('x')
  const header = 'serial,profile,cluster,identity.thumbprint,labels.site,vars.ntp,macs,note'
  const first = csv(
    header,
    `Imp/1,edge,site-a,${key.thumbprint},north,10.0.0.1,001122334455;00-11-22-33-44-66,"two\nlines"`,
    'Imp 2,edge,site-a,,,,,',
  )
  assert.equal((await send(first)).body, { ...nothing, created: 2 })
  const made = await device('imp/1')
  assert.equal(
    [made.hostname, made.identity.thumbprint, made.labels, made.vars, made.macs, made.note],
    [
      'imp-1',
      key.thumbprint,
      { site: 'north' },
      { ntp: '10.0.0.1' },
      ['00:11:22:33:44:55', '00:11:22:33:44:66'],
      'two\nlines',
    ],
  )
  assert.equal((await send(first)).body, { ...nothing, unchanged: 2 })
  const again = await device('imp/1')
  assert.equal(again, made)

  const next = csv('serial,labels.rack,note', 'IMP/1,r7,', 'imp 2,,moved')
  assert.equal((await send(next)).body, { ...nothing, updated: 2 })
  const changed = await device('imp/1')
  assert.equal([changed.labels, changed.note, changed.serial], [{ site: 'north', rack: 'r7' }, 'two\nlines', 'Imp/1'])
  assert.is((await device('imp 2')).note, 'moved')
  const events = (await desk.call('GET', '/devices/imp%2F1/timeline')).body.items
  assert.equal(
    events.map((e: { name: string; detail: { changed?: string[] } }) => [e.name, e.detail.changed]),
    [
      ['registered', undefined],
      ['changed', ['labels']],
    ],
  )
  const audit = (await desk.call('GET', '/audit?limit=1')).body.items[0]
  assert.is(audit.action, 'device.import')
})

test('200: takes one JSON object a line, as POST does', async () => {
  const { jwk, thumbprint } = new FakeDevice('x')
  const lines = [
    JSON.stringify({
      serial: 'nd-1',
      profile: 'edge',
      identity: { kind: 'key', jwk },
      vars: { deep: { n: [1, true, null] } },
    }),
    '',
    JSON.stringify({ serial: 'nd-2', profile: 'edge', identity: { kind: 'key', jwk: { ...jwk, d: 'secret' } } }),
    JSON.stringify({ serial: 'nd-3', profile: 'edge', identity: { kind: 'key', thumbprint } }),
  ].join('\n')
  const answer = await send(lines, { type: 'application/x-ndjson', query: 'partial=true' })
  assert.equal([answer.body.created, answer.body.refused.map((r: { line: number }) => r.line)], [1, [3, 4]])
  assert.not.match(answer.text, /"secret"/)
  const made = await device('nd-1')
  assert.equal([made.identity, made.vars], [{ kind: 'key', thumbprint, jwk }, { deep: { n: [1, true, null] } }])
  assert.equal((await send(lines.split('\n')[0] as string, { type: 'application/x-ndjson' })).body, {
    ...nothing,
    unchanged: 1,
  })
  assert.equal((await send('', { type: 'application/x-ndjson' })).body, nothing)
})

test('refuses tombstones, keys of other devices, and lowering without scope admin', async () => {
  const key = new FakeDevice('x').thumbprint
  await send(csv('serial,profile,identity.thumbprint', `old-1,edge,`, `old-2,edge,${key}`, 'old-3,hard,'))
  await desk.call('DELETE', '/devices/old-1')
  const file = csv('serial,profile,identity.thumbprint', 'old-1,edge,', `old-4,edge,${key}`, 'old-3,edge,')
  const { body } = await send(file, { query: 'partial=true' })
  assert.equal(
    body.refused.map((r: { reason: string }) => r.reason),
    [
      'serial: is on the roll as retired: reinstate it first',
      'identity: the key is pinned for another device',
      'min_assurance: lowering it needs scope admin',
    ],
  )
  assert.equal((await send(csv('serial,profile', 'old-3,edge'), { as: 'admin' })).body, { ...nothing, updated: 1 })
})

test('gives derived hostnames in the order of the lines, and refuses a given one that is taken', async () => {
  const file = csv(
    'serial,profile,cluster,hostname',
    'H 1,edge,site-a,',
    'H/1,edge,site-a,',
    'H2,edge,site-a,h-1',
    'H3,edge,site-a,h3-given',
  )
  const { body } = await send(file, { query: 'partial=true' })
  assert.equal(body.refused, [
    { line: 4, serial: 'H2', reason: 'hostname: another device of the cluster has h-1, or had it' },
  ])
  assert.equal(
    [(await device('H 1')).hostname, (await device('H/1')).hostname, (await device('H3')).hostname],
    ['h-1', 'h-1-7514', 'h3-given'],
  )
})

test('says in a dry run what comes of it, however far apart the lines stand that want one hostname', async () => {
  await addCluster(desk.world, { name: 'far' })
  await send(csv('serial,profile,cluster,hostname', 'Far 0,edge,far,first'), { as: 'admin' })
  const between = Array.from({ length: 4_500 }, (_, i) => `Between ${i},edge,,`)
  const file = csv(
    'serial,profile,cluster,hostname',
    'Far 0,edge,far,second',
    'Far/1,edge,far,',
    ...between.slice(0, 2_200),
    'Far 2,edge,far,second',
    'Far+1,edge,far,',
    ...between.slice(2_200),
    'Far 3,edge,far,first',
    'Far 4,edge,far,far-1',
  )
  const taken = (line: number, serial: string, name: string) => ({
    line,
    serial,
    reason: `hostname: another device of the cluster has ${name}, or had it`,
  })
  const outcome = {
    ...nothing,
    created: 4_502,
    updated: 1,
    refused: [taken(2_204, 'Far 2', 'second'), taken(4_506, 'Far 3', 'first'), taken(4_507, 'Far 4', 'far-1')],
    refused_total: 3,
  }
  assert.equal((await send(file, { query: 'dry_run=true' })).body, outcome)
  assert.is((await device('Far 0')).hostname, 'first')
  assert.equal((await send(file, { query: 'partial=true' })).body, outcome)
  assert.equal(
    [(await device('Far 0')).hostname, (await device('Far/1')).hostname, (await device('Far+1')).hostname],
    ['second', 'far-1', 'far-1-68ed'],
  )
})

test('a repeat with the same Idempotency-Key is answered the same and does nothing', async () => {
  const headers = { 'idempotency-key': 'imp-1' }
  const first = await send(csv('serial,profile', 'idem-1,edge'), { headers })
  const again = await send(csv('serial,profile', 'idem-1,edge'), { headers })
  assert.equal([first.body.created, again.body.created], [1, 1])
  assert.is((await send(csv('serial,profile', 'idem-2,edge'), { headers })).body.code, 'idempotency_mismatch')
})

test('503 busy: one import at a time, and the other is told to come again', async () => {
  let feed: ReadableStreamDefaultController<Uint8Array> | undefined
  const slow = new ReadableStream<Uint8Array>({
    start: (controller) => {
      feed = controller
    },
  })
  const headers = { authorization: `Bearer ${desk.tokens.write}`, 'content-type': 'text/csv' }
  const init = { method: 'POST', headers, body: slow, duplex: 'half' } as RequestInit
  feed?.enqueue(Buffer.from('serial,profile\nslow-1,edge\n'))
  const running = desk.app.request('/api/v1/devices/import', init)
  let second = await send(csv('serial,profile', 'quick-1,edge'))
  for (let i = 0; i < 50 && second.status !== 503; i++) second = await send(csv('serial,profile', 'quick-1,edge'))
  assert.is(second.body.code, 'busy')
  assert.ok(second.headers.get('retry-after'))
  feed?.enqueue(Buffer.from('slow-2,edge'))
  feed?.close()
  assert.equal(await (await running).json(), { ...nothing, created: 2 })
})

test('400: a body that breaks off changes nothing', async () => {
  const broken = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(Buffer.from('serial,profile\nbroken-1,edge\n')),
    pull: (controller) => controller.error(new Error('connection lost')),
  })
  const headers = { authorization: `Bearer ${desk.tokens.write}`, 'content-type': 'text/csv' }
  const answer = await desk.app.request('/api/v1/devices/import', {
    method: 'POST',
    headers,
    body: broken,
    duplex: 'half',
  } as RequestInit)
  assert.is(answer.status, 400)
  assert.is((await desk.call('GET', '/devices/broken-1')).status, 404)
})

test('leaves alone what an enrollment has fixed: hostname, cluster, role and key', async () => {
  const key = new FakeDevice('x').thumbprint
  await addCluster(desk.world, { name: 'site-c' })
  await send(csv('serial,profile,cluster', 'live-1,edge,site-a', 'was-1,edge,site-a'))
  await addEnrollment(desk.world, 'live-1')
  await addEnrollment(desk.world, 'was-1')
  await desk.call('POST', '/devices/was-1/retire')
  await desk.call('POST', '/devices/was-1/reinstate')
  const reasons = async (...lines: string[]) =>
    (await send(csv(...lines), { query: 'partial=true' })).body.refused.map(
      (r: { reason: string }) => r.reason.split(':')[0],
    )
  assert.equal(await reasons('serial,hostname', 'live-1,other', 'was-1,other'), ['hostname', 'hostname'])
  assert.equal(await reasons('serial,cluster', 'live-1,site-c'), ['cluster'])
  assert.equal(await reasons('serial,role', 'live-1,server'), ['cluster'])
  assert.equal(await reasons('serial,identity.thumbprint', `live-1,${key}`), ['identity'])
  assert.equal((await send(csv('serial,cluster,note', 'was-1,site-c,', 'live-1,,seen'))).body, {
    ...nothing,
    updated: 2,
  })
  const moved = await device('was-1')
  assert.equal([moved.cluster, moved.hostname], ['site-c', 'was-1'])
})

test('a refused header is answered while the file is still coming, through a real socket', async () => {
  const server = serve({ fetch: desk.app.fetch, hostname: '127.0.0.1', port: 0 })
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  try {
    const body = csv('serial,colour', 'x,y'.repeat(10), `${'x,y\n'.repeat(1_000_000)}`)
    const headers = { authorization: `Bearer ${desk.tokens.write}`, 'content-type': 'text/csv' }
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/devices/import`, { method: 'POST', headers, body })
    assert.is(answer.status, 422)
    const after = await fetch(`http://127.0.0.1:${port}/api/v1/devices?limit=1`, { headers })
    assert.is(after.status, 200)
  } finally {
    server.close()
  }
})
