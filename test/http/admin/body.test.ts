import * as assert from 'uvu/assert'
import { type AdminDesk, clusterInput, openAdminDesk, profileInput } from '../../fakes/admin-desk.ts'
import { suite } from '../../suite.ts'

const test = suite('admin bodies')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
})
test.after(() => desk.world.end())

const mebibyte = 1_048_576
const padded = (length: number) => {
  const bare = JSON.stringify({ x: '' })
  return JSON.stringify({ x: 'y'.repeat(length - bare.length) })
}

test('413: one byte more than 1 MiB, with a length or streamed; 1 MiB itself is read', async () => {
  assert.is((await desk.call('POST', '/clusters', padded(mebibyte))).status, 422)
  const over = await desk.call('POST', '/clusters', padded(mebibyte + 1))
  assert.is(over.status, 413)
  assert.is(over.body.code, 'body_too_large')
  const body = new ReadableStream({
    start(controller) {
      for (let i = 0; i < 17; i++) controller.enqueue(new Uint8Array(65_536).fill(32))
      controller.close()
    },
  })
  const headers = { authorization: `Bearer ${desk.tokens.admin}`, 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body, duplex: 'half' } as RequestInit
  assert.is((await desk.app.request('/api/v1/clusters', init)).status, 413)
})

test('415: another content type, or none', async () => {
  const text = JSON.stringify(clusterInput('x'))
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'json', '']) {
    const answer = await desk.call('POST', '/clusters', text, { headers: { 'content-type': type } })
    assert.is(answer.status, 415, type)
    assert.is(answer.body.code, 'media_type')
  }
})

test('400: what is no JSON, and nothing at all', async () => {
  for (const text of ['', '{', '{"a":1}}', 'nul', '{"a":01}', '\ufeff']) {
    const answer = await desk.call('POST', '/clusters', text, { headers: { 'content-type': 'application/json' } })
    assert.is(answer.status, 400, JSON.stringify(text))
    assert.is(answer.body.code, 'request_invalid')
  }
})

test('422: JSON that is no object', async () => {
  for (const value of [null, 1, 'x', [], true]) {
    assert.is((await desk.call('POST', '/clusters', JSON.stringify(value))).status, 422)
  }
})

test('422: NUL and half characters, wherever they hide', async () => {
  const hidden: [unknown, string][] = [
    [profileInput('x', { vars: { a: ['ok', 'n\0l'] } }), 'vars.a.1'],
    [profileInput('x', { vars: { 'k\0': 1 } }), 'vars'],
    [profileInput('x', { vars: { a: '\ud800' } }), 'vars.a'],
  ]
  for (const [body, path] of hidden) {
    const answer = await desk.call('POST', '/profiles', body)
    assert.is(answer.status, 422)
    assert.is(answer.body.errors[0].path, path)
  }
  assert.is((await desk.call('POST', '/profiles', profileInput('whole', { vars: { a: '😀' } }))).status, 201)
})

test('422: a nest without end does not end the server', async () => {
  const deep = `{"vars":${'['.repeat(200_000)}${']'.repeat(200_000)}}`
  assert.is((await desk.call('POST', '/profiles', deep)).status, 422)
})

test('422: variables of a profile or a device that are too long, or have names that are no plain ones', async () => {
  const profile = { name: 'p', document: 'cloud-init', role: 'agent', template: 'builtin:debian' }
  const members = ['{"a":{"__proto__":1}}', '{"__proto__":1}', '{"constructor":1}', `{"a":"${'x'.repeat(65_530)}"}`]
  for (const vars of members) {
    const device = `{"serial":"V-1","profile":"x","vars":${vars}}`
    for (const [path, text] of [
      ['/profiles', JSON.stringify(profile).replace('}', `,"vars":${vars}}`)],
      ['/profiles/lint', JSON.stringify(profile).replace('}', `,"vars":${vars}}`)],
      ['/devices', device],
    ] as const) {
      const answer = await desk.call('POST', path, text)
      assert.is(answer.status, 422, path)
      assert.is(answer.body.errors[0].path, 'vars')
    }
  }
  for (const name of ['__proto__', 'constructor', 'prototype']) {
    const answer = await desk.call('POST', '/devices', `{"serial":"V-1","profile":"x","labels":{"${name}":"a"}}`)
    assert.is(answer.status, 422)
    assert.match(answer.body.errors[0].path, /^labels/)
  }
})

test('a member named __proto__ is refused or kept like any other, and touches nothing', async () => {
  const text = '{"name":"p","document":"cloud-init","role":"agent","template":"builtin:debian","__proto__":{"x":1}}'
  assert.is((await desk.call('POST', '/profiles', text)).status, 422)
  assert.is(({} as { x?: number }).x, undefined)
})

test('405: another method, with what the path answers', async () => {
  const answer = await desk.call('PUT', '/clusters/x', {})
  assert.is(answer.status, 405)
  assert.is(answer.headers.get('allow'), 'DELETE, GET, HEAD, PATCH')
})

test('the text form is the same refusal', async () => {
  const headers = { accept: 'text/plain' }
  const none = await desk.call('GET', '/clusters/x', undefined, { headers })
  assert.is(none.text, 'not_found: Nothing here')
  const scope = await desk.call('POST', '/clusters', clusterInput('x'), { as: 'read', headers })
  assert.is(scope.text, 'forbidden: this needs a token of scope admin')
})

test('the OpenAPI document needs no token and names every refusal', async () => {
  const { status, headers, text, body } = await desk.call('GET', '/api/openapi.json', undefined, { as: 'nobody' })
  assert.is(status, 200)
  assert.is(headers.get('content-length'), String(Buffer.byteLength(text)))
  assert.is((await desk.call('GET', '/api/openapi.json')).text, text)
  assert.is(body.openapi, '3.1.0')
  for (const [path, methods] of Object.entries<Record<string, { responses: object; security: unknown[] }>>(
    body.paths,
  )) {
    for (const [method, operation] of Object.entries(methods)) {
      const statuses = Object.keys(operation.responses)
      for (const needed of ['401', '403', '500', '503']) assert.ok(statuses.includes(needed), `${method} ${path}`)
      assert.is(operation.security.length, 1)
    }
  }
})
