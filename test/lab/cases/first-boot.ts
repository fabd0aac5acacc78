import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import type { Box } from '../box.ts'
import { type Case, until } from '../case.ts'
import { assertInstalled } from '../disk.ts'
import { suites } from '../factory.ts'
import { ways } from '../images.ts'
import { type Event, reaches, register, timeline } from '../roll.ts'
import { type World, withBox } from '../world.ts'

const roles = ['server', 'agent'] as const
const steps = ['clock', 'document.applied', 'os.update', 'k3s.download', 'k3s.install', 'k3s.join', 'k3s.ready']

/** A factory-fresh box to `ready`, and again with the server gone: both ways in, both cloud-inits, both roles. */
export function firstBootCases(world: World): Case[] {
  const kinds = ways.flatMap((way) => suites.flatMap((suite) => roles.map((role) => ({ way, suite, role }))))
  return kinds.map(({ way, suite, role }) => ({
    name: `first boot: ${way}, ${suite}, ${role}, then a boot with the server gone`,
    run: (keep) =>
      withBox(world, { name: `first-${role}`, way, suite }, keep, async (box) => {
        await register(world.server, box, role)
        await box.start()
        await reaches(world.server, box, 'ready')
        assert.equal(box.boots, way === 'golden image' ? 1 : 2, 'boots')
        await assertInstalled(box, role)
        assertOrder(await timeline(world.server, box))
        await bootAlone(world, box, role === 'server' ? 'k3s' : 'k3s-agent')
      }),
  }))
}

/** Our own steps came in the protocol's order, each with a good end. */
function assertOrder(events: Event[]): void {
  const good = events.filter(({ source, result }) => source === 'node' && result === 'ok').map(({ name }) => name)
  assert.deepEqual(
    good,
    steps.filter((step) => good.includes(step)),
    'order of steps',
  )
  for (const step of ['document.applied', 'k3s.download', 'k3s.install', 'k3s.join', 'k3s.ready']) {
    assert.ok(good.includes(step), `${step} ok is missing`)
  }
  assert.ok(
    events.some(({ source }) => source === 'cloud-init'),
    'no event of cloud-init',
  )
  assert.ok(
    events.some(({ source }) => source === 'phone-home'),
    'no phone-home',
  )
}

/** Off and on again without a server: nothing is asked, nothing is applied again, K3s runs. */
async function bootAlone({ lab }: World, box: Box, unit: string): Promise<void> {
  await box.powerOff()
  const files = ['/etc/rancher/k3s/config.yaml', '/etc/rollcall/install.env', '/var/lib/cloud/seed/nocloud/meta-data']
  const before = await Promise.all(files.map(async (file) => (await stat(box.path(file))).mtimeMs))
  const keys = await box.read('/etc/ssh/ssh_host_ed25519_key.pub')
  lab.line.decide(box.ip, () => 'refuse')

  const starts = async () => (await box.read('/var/lib/lab/k3s.starts'))?.split('\n').length
  const startsBefore = await starts()
  await box.start()
  await until(`${unit} runs again`, async () => (await starts()) !== startsBefore)
  await until('cloud-init ended', () => box.has('/run/cloud-init/result.json'))

  assert.deepEqual(
    await Promise.all(files.map(async (file) => (await stat(box.path(file))).mtimeMs)),
    before,
    'no file was written again',
  )
  assert.equal(await box.read('/etc/ssh/ssh_host_ed25519_key.pub'), keys, 'host keys stay')
  assert.equal(await box.read('/var/lib/lab/installer.runs'), 'x\n', 'the installer does not run again')
  const [, last] = (await box.console()).split(/==== .* boot \d+\n/).slice(-2)
  assert.ok(!last?.includes('calling in'), 'no claim')
}
