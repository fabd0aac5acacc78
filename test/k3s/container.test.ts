import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { AppError } from '../../src/errors.ts'
import { containerForms, containerText, containerUnit, type K3sContainer, k3sImage } from '../../src/k3s/container.ts'
import { suite } from '../suite.ts'

const version = 'v1.36.3+k3s1'
const digest = `@sha256:${'a1'.repeat(32)}`
const image = `docker.io/rancher/k3s:v1.36.3-k3s1${digest}`
const server: K3sContainer = {
  role: 'server',
  name: 'k3s',
  image,
  hostname: 'sn-0001',
  alone: false,
  env: { KINE_DATASTORE_MAX_OPEN_CONNECTIONS: '30' },
}
const agent: K3sContainer = { ...server, role: 'agent', name: 'k3s-agent', env: {} }

const test = suite('K3s in a container')

const choose = (given: unknown, allowUnpinned = false, registry?: string) =>
  k3sImage(version, { given, registry, allowUnpinned })
const refusal = (given: unknown, allowUnpinned?: boolean) => {
  try {
    choose(given, allowUnpinned)
  } catch (error) {
    return error instanceof AppError ? `${error.code}: ${error.detail}` : String(error)
  }
  return 'taken'
}

test('refuses an image without a digest, unless unpinned code was allowed', () => {
  assert.match(refusal(undefined), 'state_conflict: vars.image must name a digest')
  assert.match(refusal('docker.io/rancher/k3s:v1.36.3-k3s1'), 'must name a digest')
  assert.is(choose(undefined, true), 'docker.io/rancher/k3s:v1.36.3-k3s1')
})

test('refuses an image of another version', () => {
  assert.match(refusal(`docker.io/rancher/k3s:v1.35.1-k3s1${digest}`), 'is not of v1.36.3+k3s1')
  assert.match(refusal('docker.io/rancher/k3s:latest', true), 'is not of v1.36.3+k3s1')
})

test('refuses what is no image, whatever it holds', () => {
  for (const given of ['', 'k3s', 7, {}, 'a/b c', 'a/b\nc', 'A/b', 'a/b@sha256:12', '--privileged', 'a/$(id)', "a/'b"])
    assert.match(refusal(given, true), 'state_conflict: vars.image is no image', String(given))
  fc.assert(
    fc.property(fc.string(), (given) => {
      assert.ok(refusal(given, true) !== 'taken' || /^[A-Za-z0-9@:/._-]+$/.test(given))
    }),
  )
})

test("takes one by digest, from a registry with a port, and the cluster's registry by itself", () => {
  assert.is(choose(image), image)
  assert.is(choose(`registry.lan:5000/k3s${digest}`), `registry.lan:5000/k3s${digest}`)
  assert.is(choose(undefined, true, 'registry.lan'), 'registry.lan/rancher/k3s:v1.36.3-k3s1')
})

test('refuses an environment that the three would not write alike', () => {
  for (const env of [{ A: 'b c' }, { A: '"' }, { A: '$x' }, { a: 'b' }, { A: 'b\nc' }] as Record<string, string>[])
    for (const [, textOf] of texts) assert.throws(() => textOf({ ...server, env }), JSON.stringify(env))
})

// GOLDEN=write node test/run.mjs test/k3s/container.test.ts  writes them anew.
const texts: [string, (container: K3sContainer) => string][] = [
  ...containerForms.map((form): [string, (container: K3sContainer) => string] => [
    form,
    (container) => containerText(form, container),
  ]),
  ['docker-unit', (container) => containerUnit('docker', container)],
  ['podman-unit', (container) => containerUnit('podman', container)],
]
for (const [form, textOf] of texts) {
  test(`${form}: a server of a cluster, an agent, and a server that stands alone`, () => {
    const alone = { ...server, alone: true, env: {} }
    const text = [server, agent, alone].map(textOf).join('\n')
    const file = fileURLToPath(new URL(`../golden/k3s-${form}.txt`, import.meta.url))
    if (process.env.GOLDEN === 'write') writeFileSync(file, text)
    assert.fixture(text, readFileSync(file, 'utf8'))
  })
}

test('the host loads what its kernel needs, also where modules are packed as the image cannot unpack them', () => {
  for (const text of [
    containerUnit('docker', server),
    containerUnit('podman', server),
    containerText('quadlet', server),
  ])
    assert.match(text, 'ExecStartPre=-/sbin/modprobe br_netfilter\nExecStartPre=-/sbin/modprobe overlay\n')
})

test("K3s in Podman finds the name servers behind its host's stub", () => {
  for (const text of [containerUnit('podman', server), containerText('quadlet', server)]) {
    assert.match(text, '/run/systemd/resolve:/run/systemd/resolve:ro')
    assert.match(text, 'ExecStartPre=-/bin/mkdir -p /run/systemd/resolve\n')
  }
  assert.not.match(containerUnit('docker', server), '/run/systemd/resolve')
})

test("who stands alone keeps its name in its container; on the host's network it has the host's", () => {
  for (const [form, textOf] of texts) {
    assert.match(textOf({ ...server, alone: true }), /\bhostname:? "?sn-0001\b/, form)
    assert.not.match(textOf(server), 'hostname', form)
  }
})

test("the pods of a node are not held to one container's share of processes", () => {
  for (const text of [
    containerText('docker-run', server),
    ...(['docker', 'podman'] as const).map((one) => containerUnit(one, server)),
  ])
    assert.match(text, / --pids-limit=-1 /)
  assert.is(YAML.parse(containerText('compose', server)).services.k3s.pids_limit, -1)
  assert.match(containerText('quadlet', server), /^PodmanArgs=.* --pids-limit=-1 /m)
  assert.match(containerText('quadlet', server), '\n[Service]\nTasksMax=infinity\n')
})

test('the node says that it runs in a container, whatever labels a drop-in gives it', () => {
  const label = '--node-label=rollcall/runtime=container'
  for (const [form, textOf] of texts.filter(([form]) => form !== 'compose'))
    for (const container of [server, agent])
      assert.match(textOf(container), new RegExp(`[ =]${container.role} ${label}$`, 'm'), form)
  assert.equal(YAML.parse(containerText('compose', agent)).services['k3s-agent'].command, ['agent', label])
})

test('compose reads back as what was said', () => {
  const { services } = YAML.parse(containerText('compose', server))
  assert.is(services.k3s.image, image)
  assert.is(services.k3s.privileged, true)
  assert.equal(services.k3s.environment, ['KINE_DATASTORE_MAX_OPEN_CONNECTIONS=30'])
  assert.is(services.k3s.network_mode, 'host')
  assert.equal(YAML.parse(containerText('compose', { ...server, alone: true })).services.k3s.ports, ['6443:6443'])
})

test('a unit that waits for its mark does not start without it', () => {
  assert.match(containerText('quadlet', server, '/var/lib/x'), '\nConditionPathExists=/var/lib/x\n')
  assert.not.match(containerText('quadlet', server), 'ConditionPathExists')
})

test('the real systemd takes the units', () => {
  if (!existsSync('/usr/bin/systemd-analyze')) return console.log('skipped: there is no systemd-analyze here')
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-units-'))
  try {
    for (const engine of ['docker', 'podman'] as const)
      for (const container of [server, agent, { ...server, alone: true }]) {
        // It wants the program to be there, which is not the unit's matter.
        const text = containerUnit(engine, container).replaceAll(`/usr/bin/${engine}`, '/bin/true')
        writeFileSync(join(folder, 'k3s.service'), text)
        const { stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(folder, 'k3s.service')], {
          encoding: 'utf8',
        })
        assert.not.match(stderr, 'k3s.service', text)
      }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const docker = ['/usr/bin/docker', '/usr/local/bin/docker'].find((file) => existsSync(file))

test('the real docker understands what the unit and the command say, and only then misses its daemon', () => {
  if (!docker) return console.log('skipped: there is no docker here')
  const env = { PATH: '/nowhere', DOCKER_HOST: 'unix:///nowhere/docker.sock', HOME: '/nowhere' }
  for (const container of [server, agent, { ...server, alone: true }]) {
    const start = /^ExecStart=([\s\S]*?[^\\])\n/m.exec(containerUnit('docker', container))?.[1] ?? ''
    for (const command of [
      start.replace('/usr/bin/docker', docker),
      containerText('docker-run', container).replace('docker', docker),
    ]) {
      const { stderr } = spawnSync('/bin/sh', ['-c', command], { encoding: 'utf8', env })
      assert.match(stderr, /connect|daemon/i, command)
      assert.not.match(stderr, /unknown|invalid|usage/i, command)
    }
  }
})
