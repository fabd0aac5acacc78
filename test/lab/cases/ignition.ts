import assert from 'node:assert/strict'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Box } from '../box.ts'
import type { Case } from '../case.ts'
import { command } from '../command.ts'
import { suites } from '../factory.ts'
import { applyIgnition } from '../ignition.ts'
import { asBox, client, reaches, register } from '../roll.ts'
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
  return kinds.map((kind, n) => ({
    name: `ignition: ${kind.os}, ${kind.role}`,
    run: async (keep) => {
      const suite = suites[n % suites.length] as (typeof suites)[number]
      const box = await world.lab.unpack(`ignition-${kind.os}`, world.images.plain[suite])
      keep(join(box.dir, 'console'))
      keep(join(box.dir, 'ignition/ignition.log'))
      try {
        await install(world, box, kind)
        await assertApplied(box, kind)
        await box.start()
        await reaches(world.server, box, 'ready')
        await box.scrap()
      } catch (error) {
        await box.cut()
        throw error
      }
    },
  }))
}

async function install({ server, cache }: World, box: Box, { os, role }: Kind): Promise<void> {
  await register(server, box, `${os}-${role}`)
  const config = join(box.dir, 'config.ign')
  const live = { ...asBox(box), ROLLCALL_STATE: join(box.dir, 'live') }
  // The live environment has the key that was registered; the installed system gets it from the document.
  await command('cp', ['-a', box.path('var/lib/rollcall'), live.ROLLCALL_STATE])
  await command('rm', ['-r', box.path('var/lib/rollcall')])
  await command('sh', [client, 'ignition', '--out', config], {
    ...live,
    ROLLCALL_URL: server.publicUrl,
    ROLLCALL_PIN: server.pins,
  })
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
    '/var/lib/rollcall/device.key': 0o600,
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
