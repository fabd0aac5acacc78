import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import * as assert from 'uvu/assert'
import { type AdminDesk, openAdminDesk } from '../../fakes/admin-desk.ts'
import { FakeDevice } from '../../fakes/device.ts'
import { addCluster, addProfile } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'

const test = suite('POST and GET /devices')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
  await addProfile(desk.world, { name: 'edge', role: 'agent' })
  await addProfile(desk.world, { name: 'weak', role: 'server', min_assurance: 'bearer' })
  await addCluster(desk.world, { name: 'site-a' })
  await addCluster(desk.world, { name: 'site-b' })
  await addCluster(desk.world, { name: 'endless', apiEndpoint: null })
  await addCluster(desk.world, { name: 'lax', allowWeakServers: true })
})
test.after(() => desk.world.end())

const post = (body: unknown, as: 'read' | 'write' | 'admin' = 'write') => desk.call('POST', '/devices', body, { as })
const wrong = async (body: unknown) => {
  const answer = await post(body)
  assert.is(answer.status, 422, answer.text)
  return (answer.body.errors as { path: string }[]).map(({ path }) => path)
}

test('403: a read token registers nothing', async () => {
  assert.is((await post({ serial: 'R-1', profile: 'edge' }, 'read')).status, 403)
})

test('422: says which member is wrong', async () => {
  assert.equal(await wrong({ serial: 'To Be Filled By O.E.M.', profile: 'edge' }), ['serial'])
  assert.equal(await wrong({ serial: 'A-1' }), ['profile'])
  assert.equal(await wrong({ serial: 'A-1', profile: 'none', cluster: 'none' }), ['profile', 'cluster'])
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', hostname: 'Not_A_Label' }), ['hostname'])
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', colour: 'red' }), ['colour'])
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', macs: ['nope'] }), ['macs.0'])
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', identity: { kind: 'key', thumbprint: 'short' } }), [
    'identity.thumbprint',
  ])
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', identity: { kind: 'key' } }), ['identity'])
})

test('422: an agent needs an API endpoint to go to', async () => {
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', cluster: 'endless' }), ['cluster'])
})

test('422: a server must prove a key, unless its cluster allows weak ones', async () => {
  assert.equal(await wrong({ serial: 'A-1', profile: 'edge', role: 'server', min_assurance: 'bearer' }), [
    'min_assurance',
  ])
  assert.equal(await wrong({ serial: 'A-1', profile: 'weak', cluster: 'site-a' }), ['min_assurance'])
  assert.is((await post({ serial: 'WEAK-1', profile: 'weak', cluster: 'lax' })).status, 201)
  assert.is((await post({ serial: 'WEAK-2', profile: 'weak', cluster: 'site-a', min_assurance: 'key' })).status, 201)
})

test('201: shows what was given, what was derived, and where it is', async () => {
  const { jwk, thumbprint } = new FakeDevice('x')
  const identity = { kind: 'key', jwk }
  const input = {
    serial: ' Sn/Full 1 ',
    profile: 'edge',
    cluster: 'site-a',
    identity,
    labels: { site: 'north' },
    vars: { n: [1, null] },
  }
  const made = await post({
    ...input,
    macs: ['00-1A-2B-3C-4D-5E'],
    uuid: '4C4C4544-0042-3510-8052-B4C04F4E4E32',
    note: 'a\nb',
  })
  assert.is(made.status, 201, made.text)
  assert.is(made.headers.get('location'), '/api/v1/devices/Sn%2FFull%201')
  const now = desk.world.clock.now
  const { id, ...body } = made.body
  assert.match(id, /^dev_/)
  assert.equal(body, {
    serial: 'Sn/Full 1',
    state: 'registered',
    state_since: now,
    reported: false,
    deadline: now + 90 * 86_400,
    stuck_reason: null,
    stuck_since: null,
    stuck_step: null,
    failure: null,
    assurance: null,
    profile: 'edge',
    cluster: 'site-a',
    role: 'agent',
    hostname: 'sn-full-1',
    identity: { kind: 'key', thumbprint, jwk },
    min_assurance: null,
    labels: { site: 'north' },
    vars: { n: [1, null] },
    macs: ['00:1a:2b:3c:4d:5e'],
    uuid: '4c4c4544-0042-3510-8052-b4c04f4e4e32',
    note: 'a\nb',
    armed_until: null,
    reenroll_granted: false,
    must_rejoin: false,
    unfinished: [],
    node: null,
    last_enrollment: null,
    created_at: now,
    updated_at: now,
  })
  const read = await desk.call('GET', '/devices/sN%2ffULL%201', undefined, { as: 'read' })
  assert.equal(read.body, made.body)
  assert.is(read.headers.get('etag'), made.headers.get('etag'))
})

test('409: a serial is taken in any case, a key by any device', async () => {
  const key = { kind: 'key', thumbprint: new FakeDevice('x').thumbprint }
  assert.is((await post({ serial: 'Taken-1', profile: 'edge', identity: key })).status, 201)
  assert.is((await post({ serial: 'tAKEN-1', profile: 'edge' })).body.code, 'already_exists')
  const second = await post({ serial: 'Taken-2', profile: 'edge', identity: key })
  assert.is(second.body.code, 'already_exists')
  assert.equal(second.body.errors, [{ path: 'identity', reason: 'the key is pinned for another device' }])
  assert.is((await desk.call('GET', '/devices/Taken-2')).status, 404)
})

test('a derived hostname that is taken gets a suffix, a given one is 409, in its own cluster only', async () => {
  const hostname = async (serial: string, more: object = {}) =>
    (await post({ serial, profile: 'edge', cluster: 'site-a', ...more })).body.hostname
  assert.is(await hostname('Box 7'), 'box-7')
  assert.is(await hostname('BOX/7'), 'box-7-f27a')
  assert.is(await hostname('box-7', { cluster: 'site-b' }), 'box-7')
  const given = await post({ serial: 'other', profile: 'edge', cluster: 'site-a', hostname: 'box-7' })
  assert.is(given.body.code, 'already_exists')
  assert.is(await hostname('free', { hostname: 'by-hand' }), 'by-hand')
})

test('of many at once that want one hostname or one serial, each gets its own or a typed refusal', async () => {
  const twins = ['Race 1', 'Race/1', 'Race#1', 'Race+1']
  const answers = await Promise.all(twins.map((serial) => post({ serial, profile: 'edge', cluster: 'site-b' })))
  const names = answers.filter((a) => a.status === 201).map((a) => a.body.hostname)
  assert.is(new Set(names).size, 4, answers.map((a) => a.text).join('\n'))
  const same = await Promise.all([1, 2, 3, 4].map(() => post({ serial: 'Race-2', profile: 'edge' })))
  assert.equal(same.map((a) => a.status).sort(), [201, 409, 409, 409])
})

test('404: what is no serial, or not on the roll, looks the same', async () => {
  const strip = (text: string) => text.replace(/"(request_id|instance)":"[^"]*"/g, '')
  const unknown = await desk.call('GET', '/devices/nobody')
  const impossible = await desk.call('GET', '/devices/%20%20')
  assert.is(unknown.status, 404)
  assert.is(strip(impossible.text), strip(unknown.text))
})

test('GET lists by state, cluster, profile and the beginning of a serial, a page at a time', async () => {
  for (let i = 0; i < 5; i++) await post({ serial: `List_${i}`, profile: 'edge', cluster: 'site-b' })
  await post({ serial: 'ListX0', profile: 'edge' })
  const serials = async (query: string) =>
    (await desk.call('GET', `/devices?${query}`)).body.items.map((d: { serial: string }) => d.serial).sort()
  assert.equal(await serials('q=list_'), ['List_0', 'List_1', 'List_2', 'List_3', 'List_4'])
  assert.equal(await serials('q=LIST&cluster=site-b&state=registered&profile=edge'), await serials('q=list_'))
  assert.equal(await serials('q=%25'), [])
  assert.equal(await serials('cluster=none'), [])
  assert.is((await desk.call('GET', '/devices?state=lost')).status, 422)

  const seen: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await desk.call('GET', `/devices?q=list&limit=2${cursor ? `&cursor=${cursor}` : ''}`)
    assert.ok(body.items.length <= 2)
    seen.push(...body.items.map((d: { serial: string }) => d.serial))
    cursor = body.next_cursor
  }
  assert.equal(seen.sort(), ['ListX0', 'List_0', 'List_1', 'List_2', 'List_3', 'List_4'])
})

test('a repeat with the same Idempotency-Key gets the same device', async () => {
  const headers = { 'idempotency-key': 'reg-1' }
  const body = { serial: 'Idem-1', profile: 'edge' }
  const first = await desk.call('POST', '/devices', body, { headers })
  const again = await desk.call('POST', '/devices', body, { headers })
  assert.is(again.status, 201)
  assert.is(again.text, first.text)
})

test('every serial that may be is found by its percent-encoded path, through a real socket', async () => {
  const server = serve({ fetch: desk.app.fetch, hostname: '127.0.0.1', port: 0 })
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const headers = { authorization: `Bearer ${desk.tokens.write}` }
  const url = (path: string) => `http://127.0.0.1:${port}/api/v1/devices/${path}`
  try {
    for (const serial of ['U/1', 'U 2', 'U#3', 'U+4', 'U&5', 'U:6', 'a/../b7', './u8', 'U//9']) {
      assert.is((await post({ serial, profile: 'edge' })).status, 201, serial)
      const read = await fetch(url(encodeURIComponent(serial)), { headers })
      assert.is(((await read.json()) as { serial: string }).serial, serial)
      const verb = await fetch(url(`${encodeURIComponent(serial)}/arm`), { method: 'POST', headers })
      assert.is(verb.status, 200, serial)
    }
    assert.is((await fetch(url('U/1'), { headers })).status, 404)
    assert.is((await fetch(url('U%252F1'), { headers })).status, 404)
    assert.is((await fetch(url('%zz'), { headers })).status, 404)
    assert.is((await fetch(url('%00'), { headers })).status, 404)
  } finally {
    server.close()
  }
})
