import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../suite.ts'
import { documents, partsOf, script, settings } from './parts.ts'
import { placeRoot } from './place.ts'

const bodyOf = (system: 'debian' | 'rocky', role: 'server' | 'agent', id = 'enr_1') => {
  const parts = partsOf(`builtin:${system}`, role)
  return documents.compose({ ...parts, enrollment: { ...parts.enrollment, id } }).rendered.body
}

/** PROTOCOL.md, "Files on the node", and what goes with them. */
const modes = {
  server: {
    '/etc/cloud/cloud.cfg.d/99-rollcall.cfg': '0644',
    '/etc/rancher/k3s/config.yaml': '0600',
    '/etc/rancher/k3s/datastore-ca.pem': '0600',
    '/etc/rancher/node/password': '0600',
    '/etc/rollcall/install.env': '0600',
    '/etc/rollcall/node.env': '0600',
    '/etc/systemd/system/k3s.service.d/10-rollcall.conf': '0644',
    '/etc/systemd/system/rollcall-install.service': '0644',
    '/etc/systemd/system/rollcall-node.service': '0644',
    '/usr/local/sbin/rollcall-node': '0700',
    '/usr/local/share/ca-certificates/rollcall.crt': '0644',
    '/var/lib/rollcall/placed': '0600',
  },
  agent: {
    '/etc/cloud/cloud.cfg.d/99-rollcall.cfg': '0644',
    '/etc/pki/ca-trust/source/anchors/rollcall.crt': '0644',
    '/etc/rancher/k3s/config.yaml': '0600',
    '/etc/rancher/k3s/token': '0600',
    '/etc/rancher/node/password': '0600',
    '/etc/rollcall/install.env': '0600',
    '/etc/rollcall/node.env': '0600',
    '/etc/systemd/system/k3s-agent.service.d/10-rollcall.conf': '0644',
    '/etc/systemd/system/rollcall-install.service': '0644',
    '/usr/local/sbin/rollcall-node': '0700',
    '/var/lib/rollcall/placed': '0600',
  },
} as const

const test = suite('a cloud-init document, placed by a real shell', { timeout: 60_000 })

for (const [system, unit, engine] of [
  ['debian', 'docker_unit', 'docker'],
  ['rocky', 'podman_unit', 'podman'],
] as const) {
  test(`${system}, K3s in a container: its unit, and a program that asks the container`, () => {
    const box = placeRoot()
    const parts = partsOf(`builtin:${system}`, 'agent')
    const vars = { runtime: 'container', image: `docker.io/rancher/k3s@sha256:${'d4'.repeat(32)}` }
    const { rendered, input } = documents.compose({ ...parts, device: { ...parts.device, vars } })
    assert.equal(box.boot(rendered.body).status, 0)
    const files = box.files()
    assert.equal(files['/etc/systemd/system/k3s-agent.service'], { mode: '0644', content: input.k3s.container?.[unit] })
    assert.is(files['/usr/local/bin/k3s']?.mode, '0755')
    writeFileSync(join(box.root, '.bin', engine), '#!/bin/sh\nprintf "<%s>" "$@"\n', { mode: 0o755 })
    const env = { PATH: `${join(box.root, '.bin')}:/usr/bin:/bin` }
    const { stdout } = spawnSync('sh', [join(box.root, 'usr/local/bin/k3s'), 'kubectl', 'get', 'a b'], {
      encoding: 'utf8',
      env,
    })
    assert.is(stdout, '<exec><-i><k3s-agent><k3s><kubectl><get><a b>')
    box.remove()
  })
}

for (const [system, role] of [
  ['debian', 'server'],
  ['rocky', 'agent'],
] as const) {
  test(`${system}, ${role}: writes the files with their modes, enables and starts the installer`, () => {
    const box = placeRoot()
    assert.equal(box.boot(bodyOf(system, role)).status, 0)
    const files = box.files()
    assert.equal(
      Object.fromEntries(
        Object.entries(files)
          .map(([path, { mode }]) => [path, mode])
          .sort(),
      ),
      modes[role],
    )
    assert.is(files['/usr/local/sbin/rollcall-node']?.content, script)
    assert.is(files['/var/lib/rollcall/placed']?.content, 'enr_1\n')
    assert.ok(box.notes().includes('systemctl enable rollcall-install.service'))
    box.remove()
  })
}

test('places its files once: what they became later stays', () => {
  const box = placeRoot()
  box.boot(bodyOf('debian', 'server'))
  box.write('/etc/rollcall/node.env', 'changed by a later step')
  const before = box.notes().length
  assert.is(box.boot(bodyOf('debian', 'server')).status, 0)
  assert.is(box.files()['/etc/rollcall/node.env']?.content, 'changed by a later step')
  assert.is(box.notes().length, before)
  box.remove()
})

test('places them anew for another enrollment', () => {
  const box = placeRoot()
  box.boot(bodyOf('debian', 'agent'))
  box.boot(bodyOf('debian', 'agent', 'enr_2'))
  const files = box.files()
  assert.match(files['/etc/rollcall/install.env']?.content ?? '', /^ROLLCALL_ENROLLMENT='enr_2'$/m)
  assert.is(files['/var/lib/rollcall/placed']?.content, 'enr_2\n')
  box.remove()
})

test("takes away what another enrollment brought and this one does not, and leaves an admin's registries.yaml", () => {
  for (const [text, stays] of [
    ["# Rollcall's\nmirrors: {}\n", false],
    ['mirrors: {}\n', true],
  ] as const) {
    const box = placeRoot()
    box.write('/etc/rancher/k3s/registries.yaml', text)
    box.write('/etc/rollcall/k3s.env', 'OLD="1"\n')
    assert.is(box.boot(bodyOf('debian', 'server')).status, 0)
    const files = box.files()
    assert.is('/etc/rancher/k3s/registries.yaml' in files, stays)
    assert.not('/etc/rollcall/k3s.env' in files)
    for (const unit of ['k3s', 'k3s-agent', 'rollcall-node'])
      assert.ok(box.notes().includes(`systemctl disable ${unit}`))
    box.remove()
  }
})

test('leaves nothing half-written when the power goes, and finishes at the next boot', () => {
  const whole = placeRoot()
  whole.boot(bodyOf('debian', 'server'))
  const expected = whole.files()
  const last = Object.keys(expected).length - 1
  for (const cut of [0, 1, 4, last]) {
    const box = placeRoot()
    assert.is(box.boot(bodyOf('debian', 'server'), { cut }).status, null)
    const half = box.files()
    assert.is(Object.keys(half).length, cut)
    for (const [path, file] of Object.entries(half)) assert.equal(file, expected[path], path)
    assert.is(half['/var/lib/rollcall/placed'], undefined)

    // What a cut in the middle of a write leaves behind.
    box.write('/etc/rancher/k3s/config.yaml.new', 'torn')
    assert.is(box.boot(bodyOf('debian', 'server')).status, 0)
    assert.equal(box.files(), expected)
    box.remove()
  }
  whole.remove()
})

test('has no secret in an argument, a unit or a file that others may read', () => {
  const { input, rendered } = documents.compose(partsOf('builtin:debian', 'server'))
  const box = placeRoot()
  box.boot(rendered.body)
  const { report_url, ...secrets } = input.secret
  const hidden = [...Object.values(secrets), report_url, 'p%40ss%25word']
  const open = Object.entries(box.files()).filter(([, { mode }]) => mode !== '0600')
  for (const secret of hidden) {
    for (const [path, { content }] of open) assert.not(content.includes(secret), path)
    for (const note of box.notes()) assert.not(note.includes(secret))
  }
  box.remove()
})

test('writes settings that the shell sources back', () => {
  const { rendered } = documents.compose(partsOf('builtin:debian', 'server'))
  const box = placeRoot()
  box.boot(rendered.body)
  const text = box.files()['/etc/rollcall/node.env']?.content ?? ''
  assert.match(text, new RegExp(`^ROLLCALL_PIN='${settings.pins.replaceAll('+', '\\+')}'$`, 'm'))
  box.remove()
})
