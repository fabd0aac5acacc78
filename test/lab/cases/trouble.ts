import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Box } from '../box.ts'
import { type Case, until } from '../case.ts'
import { command } from '../command.ts'
import { assertInstalled } from '../disk.ts'
import { type Way, ways } from '../images.ts'
import { asBox, client, device, importLine, reaches, register } from '../roll.ts'
import { type World, withBox } from '../world.ts'

/** Boxes that nobody registered, that are given something else than promised, or whose disk was copied. */
export function troubleCases(world: World): Case[] {
  return [unknown(world), tampered(world), cloned(world), ...ways.map((way) => ended(world, way))]
}

const unknown = (world: World): Case => ({
  name: 'a box that is not on the roll says who it is, waits, and goes on once the line on its console is imported',
  run: (keep) =>
    withBox(world, { name: 'unknown', way: 'golden image', suite: 'bookworm' }, keep, async (box) => {
      await askOften(box)
      await box.start()
      await importLine(world.server, await lineOnConsole(box), 'server')
      await reaches(world.server, box, 'ready')
      await assertInstalled(box, 'server')
    }),
})

const tampered = (world: World): Case => ({
  name: 'a binary with another hash than on record is never run, and the roll says so',
  run: (keep) =>
    withBox(world, { name: 'tampered', way: 'golden image', suite: 'trixie' }, keep, async (box) => {
      await register(world.server, box, 'server', 'tampered')
      await box.start()
      // The box keeps trying; the roll calls it failed once it failed often enough.
      const { last_enrollment: last } = await reaches(world.server, box, 'failed')
      assert.equal(last?.last_step, 'k3s.download')
      assert.match(JSON.stringify(last?.last_detail), /sha-?256/i)
      assert.equal(await box.has('/usr/local/bin/k3s'), false)
      assert.equal(await box.has('/var/lib/lab/installer.runs'), false)
    }),
})

const cloned = (world: World): Case => ({
  name: 'a copied disk speaks for its new machine alone, and its original stays ready',
  run: (keep) =>
    withBox(world, { name: 'original', way: 'golden image', suite: 'trixie' }, keep, async (original) => {
      await register(world.server, original, 'agent')
      await original.start()
      await reaches(world.server, original, 'ready')
      await original.powerOff()
      await withBox(
        world,
        { name: 'copy', way: 'golden image', suite: 'trixie', disk: original },
        keep,
        async (copy) => {
          await askOften(copy)
          await copy.start()
          await importLine(world.server, await lineOnConsole(copy), 'agent')
          await reaches(world.server, copy, 'ready')
          assert.match(await copy.console(), /THIS DISK COMES FROM ANOTHER MACHINE/)
          assert.equal((await copy.read('/etc/hostname'))?.trim(), copy.serial.toLowerCase())
          assert.notEqual(await copy.read('/etc/rollcall/node.env'), await original.read('/etc/rollcall/node.env'))
        },
      )
      assert.equal((await device(world.server, original)).state, 'ready')
    }),
})

// Another claim of the same key replaces the enrollment, and ends the ticket that the disk has before it was redeemed.
const ended = (world: World, way: Way): Case => ({
  name: `a box whose ticket ended claims again by itself; ${way}`,
  run: (keep) =>
    withBox(world, { name: 'ended', way, suite: 'bookworm' }, keep, async (box) => {
      await register(world.server, box, 'server')
      await box.start()
      await until('the document counts', () => box.has('/var/lib/rollcall/applied'), { every: 2 })
      await box.cut()
      const elsewhere = join(box.dir, 'elsewhere')
      await command('cp', ['-a', box.path('var/lib/rollcall'), elsewhere])
      await command('rm', [join(elsewhere, 'applied')])
      const { publicUrl: ROLLCALL_URL, pins: ROLLCALL_PIN } = world.server
      const env = { ...asBox(box), ROLLCALL_STATE: elsewhere, ROLLCALL_URL, ROLLCALL_PIN }
      await command('sh', [client, 'claim', '--out', join(box.dir, 'other')], env)
      await box.start()
      await reaches(world.server, box, 'ready')
      assert.match(await box.console(), /restarting, to call in again/)
      await assertInstalled(box, 'server')
    }),
})

// A refused box asks once a minute; a test need not wait for that.
async function askOften(box: Box): Promise<void> {
  await mkdir(box.path('/etc/systemd/system/rollcall-claim.service.d'), { recursive: true })
  await writeFile(
    box.path('/etc/systemd/system/rollcall-claim.service.d/lab.conf'),
    '[Service]\nEnvironment=ROLLCALL_SLOW=2\n',
  )
}

const lineOnConsole = (box: Box): Promise<string> =>
  until('a line to import on the console', async () => /\{"serial":.*\}/.exec(await box.console())?.[0])
