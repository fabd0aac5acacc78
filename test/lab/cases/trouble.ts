import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import type { Box } from '../box.ts'
import { type Case, until } from '../case.ts'
import { assertInstalled } from '../disk.ts'
import { device, importLine, reaches, register } from '../roll.ts'
import { type World, withBox } from '../world.ts'

/** Boxes that nobody registered, that are given something else than promised, or whose disk was copied. */
export function troubleCases(world: World): Case[] {
  return [unknown(world), tampered(world), cloned(world)]
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
