import * as assert from 'uvu/assert'
import { type AdminDesk, clusterInput, openAdminDesk, profileInput } from '../../fakes/admin-desk.ts'
import { suite } from '../../suite.ts'

const test = suite('preview and lint')
let desk: AdminDesk
const endpoint = 'postgres://k3s:s3cret@db.test/site'
const broken = { source: '#cloud-config\nhostname: {{quote device.hostname}}\n{{#if x}}\n' }

test.before(async () => {
  desk = await openAdminDesk()
  const api = { api_endpoint: 'https://site-a.test:6443' }
  const datastore = { kind: 'postgres', endpoint }
  await desk.call('POST', '/clusters', clusterInput('site-a', { ...api, datastore }))
  await desk.call('POST', '/profiles', profileInput('agent', { vars: { colour: 'red' } }))
  await desk.call('POST', '/profiles', profileInput('server', { role: 'server' }))
  await desk.call('POST', '/devices', { serial: 'SN-A', profile: 'agent', cluster: 'site-a' })
  await desk.call('POST', '/devices', { serial: 'SN-S', profile: 'server', cluster: 'site-a' })
  await desk.call('POST', '/devices', { serial: 'SN-Homeless', profile: 'server' })
})
test.after(() => desk.world.end())

test('403 for scope read; 422 without a serial; 404 for what is not there', async () => {
  const preview = (path: string, as: 'read' | 'write') => desk.call('POST', `/profiles/${path}`, undefined, { as })
  assert.is((await preview('agent/preview?serial=SN-A', 'read')).status, 403)
  assert.is((await preview('agent/preview', 'write')).status, 422)
  for (const path of ['agent/preview?serial=SN-X', 'nobody/preview?serial=SN-A', 'agent/preview?serial=%20']) {
    assert.is((await preview(path, 'write')).status, 404, path)
  }
})

test('409: a device without a cluster has no document', async () => {
  const answer = await desk.call('POST', '/profiles/server/preview?serial=SN-Homeless')
  assert.is(answer.body.code, 'state_conflict')
})

test('200: the document of that device, secrets as placeholders, and nothing happened', async () => {
  const agent = await desk.call('POST', '/profiles/agent/preview?serial=sn-a', undefined, { as: 'write' })
  assert.is(agent.status, 200)
  assert.is(agent.body.content_type, 'text/cloud-config')
  assert.match(agent.body.document, /^#cloud-config\n/)
  assert.match(agent.body.document, /hostname: "sn-a"/)
  assert.match(agent.body.document, /<join token>/)
  const server = await desk.call('POST', '/profiles/server/preview?serial=SN-S')
  assert.match(server.body.document, /<datastore endpoint>/)
  assert.not.match(server.text, /s3cret/)
  assert.is((await desk.call('GET', '/devices/SN-S')).body.state, 'registered')
  assert.equal((await desk.call('GET', '/enrollments')).body.items, [])
})

test('422 for a form of container that there is none of; 409 for an image of another version', async () => {
  assert.is((await desk.call('POST', '/profiles/server/preview?serial=SN-S&as=rkt')).status, 422)
  const vars = { image: 'docker.io/rancher/k3s:v1.0.0-k3s1' }
  await desk.call('POST', '/profiles', profileInput('old-image', { role: 'server', vars }))
  const answer = await desk.call('POST', '/profiles/old-image/preview?serial=SN-S&as=quadlet')
  assert.is(answer.status, 409)
})

test('200: what runs its K3s in a container, and the files that it finds, secrets as placeholders', async () => {
  for (const [as, type] of [
    ['docker-run', 'text/x-shellscript'],
    ['compose', 'application/yaml'],
    ['quadlet', 'text/plain'],
  ] as const) {
    const { body, text } = await desk.call('POST', `/profiles/server/preview?serial=SN-S&as=${as}`)
    assert.is(body.content_type, type)
    assert.match(body.document, 'docker.io/rancher/k3s:v1.36.3-k3s1')
    assert.equal(
      body.files.map(({ path }: { path: string }) => path),
      ['/etc/rancher/k3s/config.yaml', '/etc/rancher/k3s/token', '/etc/rancher/node/password'],
    )
    assert.match(body.files[0].content, 'datastore-endpoint: "<datastore endpoint>"')
    assert.not.match(text, /s3cret/)
  }
  const agent = await desk.call('POST', '/profiles/agent/preview?serial=SN-A&as=compose')
  assert.is(agent.body.files[1].content, '<join token>\n')
})

test('a template that cannot be used is refused when it is saved, by line', async () => {
  const made = await desk.call('POST', '/profiles', profileInput('broken', { template: broken }))
  assert.is(made.status, 422)
  assert.is(made.body.errors[0].path, 'template.source')
  assert.ok(made.body.errors[0].line >= 3)
  const changed = await desk.call('PATCH', '/profiles/agent', { template: broken })
  assert.is(changed.status, 422)
  assert.is((await desk.call('GET', '/profiles/agent')).body.revision, 1)
})

test('lint says the same without saving', async () => {
  const { name: _, ...unnamed } = profileInput('x', { template: broken })
  const bad = await desk.call('POST', '/profiles/lint', unnamed, { as: 'write' })
  assert.is(bad.status, 200)
  assert.is(bad.body.ok, false)
  assert.is(bad.body.problems[0].severity, 'error')
  const good = await desk.call('POST', '/profiles/lint', profileInput('x'))
  assert.equal(good.body, { ok: true, problems: [] })
  assert.is((await desk.call('GET', '/profiles/x')).status, 404)
})

test('lint warns of an address that was guessed', async () => {
  const { settings } = desk.world
  settings.publicUrlGuessed = true
  const { body } = await desk.call('POST', '/profiles/lint', profileInput('x'))
  settings.publicUrlGuessed = false
  assert.is(body.ok, true)
  assert.is(body.problems[0].code, 'public_url_guessed')
})

test('every built-in saves and previews for both roles', async () => {
  for (const system of ['debian', 'rocky', 'fcos', 'flatcar']) {
    for (const role of ['agent', 'server']) {
      const name = `${system}-${role}`
      const document = system === 'debian' || system === 'rocky' ? 'cloud-init' : 'ignition'
      const input = profileInput(name, { document, role, template: `builtin:${system}` })
      assert.is((await desk.call('POST', '/profiles', input)).status, 201, name)
      const serial = `SN-${name}`
      await desk.call('POST', '/devices', { serial, profile: name, cluster: 'site-a' })
      const { status, body } = await desk.call('POST', `/profiles/${name}/preview?serial=${serial}`)
      assert.is(status, 200, name)
      assert.is(body.role, role)
    }
  }
})
