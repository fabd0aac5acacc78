import assert from 'node:assert/strict'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Box } from '../box.ts'
import { type Case, until } from '../case.ts'
import { command } from '../command.ts'
import { suites } from '../factory.ts'
import { applyIgnition } from '../ignition.ts'
import { asBox, client, device, reaches, register, timeline } from '../roll.ts'
import type { World } from '../world.ts'

const kinds = [
  { os: 'fcos', role: 'server', bin: '/usr/local/bin', script: '/usr/local/sbin/rollcall-node' },
  { os: 'fcos', role: 'agent', bin: '/usr/local/bin', script: '/usr/local/sbin/rollcall-node' },
  { os: 'flatcar', role: 'server', bin: '/opt/bin', script: '/opt/bin/rollcall-node' },
  { os: 'flatcar', role: 'agent', bin: '/opt/bin', script: '/opt/bin/rollcall-node' },
] as const
type Kind = (typeof kinds)[number]

/** client.sh claims in a live environment, the real Ignition applies what it wrote, and the installed system boots to `ready`. */
export function ignitionCases(world: World): Case[] {
  const cases = kinds.map((kind, n) => ignitionCase(world, kind, n, `ignition: ${kind.os}, ${kind.role}`, boot))
  const servers = kinds.filter(({ role }) => role === 'server')
  const ended = servers.map((kind, n) =>
    ignitionCase(world, kind, n, `ignition: ${kind.os}, whose ticket ended, claims again`, async (box) => {
      const before = await box.read('/etc/rollcall/install.env')
      await endTicket(world, box)
      await boot(box)
      assert.notEqual(await box.read('/etc/rollcall/install.env'), before)
      await assertApplied(box, kind)
      assert.equal(await box.has('/var/lib/rollcall/next'), false)
    }),
  )
  const cut = servers.map((kind, n) =>
    ignitionCase(world, kind, n + 1, `ignition: ${kind.os}, the power goes when it has claimed again`, async (box) => {
      await endTicket(world, box)
      await box.start()
      await until('the new document', () => box.has('/var/lib/rollcall/next/complete'), { every: 2 })
      await box.cut()
      await boot(box)
    }),
  )
  const byHand = ignitionCase(world, kinds[0], 1, 'ignition: a box that is ready enrols again by hand', async (box) => {
    await boot(box)
    const before = await device(world.server, box)
    await world.server.ask('POST', `/devices/${box.serial}/reenroll`)
    // docs/devices.md, "Enrolling again".
    await within(box, 'sh /var/lib/rollcall/client.sh apply')
    await within(box, 'systemctl restart rollcall-install')
    const after = await reaches(world.server, box, 'ready')
    assert.notEqual(after.last_enrollment?.id, before.last_enrollment?.id)
  })
  return [...cases, ...ended, ...cut, byHand, ...(process.env.LONG ? [shelved(world)] : [])]

  async function boot(box: Box): Promise<void> {
    await box.start()
    await reaches(world.server, box, 'ready')
  }
}

function ignitionCase(
  world: World,
  kind: Kind,
  n: number,
  name: string,
  run: (box: Box) => Promise<void>,
  profile = `${kind.os}-${kind.role}`,
): Case {
  return {
    name,
    run: async (keep) => {
      const suite = suites[n % suites.length] as (typeof suites)[number]
      const box = await world.lab.unpack(`ignition-${kind.os}`, world.images.plain[suite])
      keep(join(box.dir, 'console'))
      keep(join(box.dir, 'ignition/ignition.log'))
      try {
        await install(world, box, profile)
        await assertApplied(box, kind)
        await run(box)
        await box.scrap()
      } catch (error) {
        await box.cut()
        throw error
      }
    },
  }
}

/** What somebody types who is logged in. */
async function within(box: Box, line: string): Promise<void> {
  const [, , pid = ''] = (await box.livePath('/')).split('/')
  await command('nsenter', ['--target', pid, '--all', '--root', '--wd', 'sh', '-c', line])
}

// Another claim of the same key replaces the enrollment, and ends the ticket that the disk has.
async function endTicket({ server }: World, box: Box): Promise<void> {
  await command('sh', [client, 'claim', '--out', join(box.dir, 'other')], { ...live(box), ...address(server) })
}

// The same by time alone: the shortest life that a ticket may have, and a box that is switched on after it.
function shelved(world: World): Case {
  const kind = kinds[0]
  const name = 'ignition: fcos, switched on when its ticket had ended, claims again'
  return ignitionCase(
    world,
    kind,
    0,
    name,
    async (box) => {
      await sleep(305_000)
      await box.start()
      await reaches(world.server, box, 'ready')
      const told = await timeline(world.server, box)
      assert.equal(told.filter((event) => event.name === 'enrolled').length, 2)
      assert.ok(told.some(({ name, detail }) => name === 'k3s.join' && /claiming again/.test(JSON.stringify(detail))))
    },
    'fcos-brief',
  )
}

const live = (box: Box) => ({ ...asBox(box), ROLLCALL_STATE: join(box.dir, 'live') })
const address = ({ publicUrl, pins }: World['server']) => ({ ROLLCALL_URL: publicUrl, ROLLCALL_PIN: pins })

async function install({ server, cache }: World, box: Box, profile: string): Promise<void> {
  await register(server, box, profile)
  const config = join(box.dir, 'config.ign')
  // The live environment has the key that was registered; the installed system gets it from the document.
  await command('cp', ['-a', box.path('var/lib/rollcall'), live(box).ROLLCALL_STATE])
  await command('rm', ['-r', box.path('var/lib/rollcall')])
  await command('sh', [client, 'ignition', '--out', config], { ...live(box), ...address(server) })
  assert.equal((await stat(config)).mode & 0o777, 0o600)
  await applyIgnition(cache, join(box.dir, 'ignition'), config, box.path('/'))
  // systemd takes this for a first boot and follows the presets that Ignition wrote.
  await writeFile(box.path('/etc/machine-id'), 'uninitialized\n')
}

async function assertApplied(box: Box, { bin, script, role }: Kind): Promise<void> {
  const modes: Record<string, number> = {
    '/etc/rancher/k3s/config.yaml': 0o600,
    '/etc/rancher/node/password': 0o600,
    '/etc/rollcall/node.env': 0o600,
    '/etc/rollcall/install.env': 0o600,
    '/etc/rollcall/client.env': 0o644,
    '/var/lib/rollcall/device.key': 0o600,
    '/var/lib/rollcall/client.sh': 0o700,
    [script]: 0o700,
    [`${bin}/k3s`]: 0o755,
    ...(role === 'agent' ? { '/etc/rancher/k3s/token': 0o600 } : {}),
  }
  for (const [file, mode] of Object.entries(modes)) {
    const found = await stat(box.path(file)).catch(() => assert.fail(`${file} is missing`))
    assert.deepEqual([found.mode & 0o7777, found.uid, found.gid], [mode, 0, 0], `mode and owner of ${file}`)
  }
  assert.equal((await box.read('/etc/hostname'))?.trim(), box.serial.toLowerCase())
}
