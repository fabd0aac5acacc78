import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Box } from '../box.ts'
import { type Case, until } from '../case.ts'
import { assertInstalled } from '../disk.ts'
import { suites } from '../factory.ts'
import { ways } from '../images.ts'
import { reaches, register, timeline } from '../roll.ts'
import { type World, withBox } from '../world.ts'

type Point = { name: string; come: (world: World, box: Box) => Promise<unknown> }

const file = (path: string) => (_: World, box: Box) => until(path, () => box.has(path), { every: 2 })
const step = (name: string, result: string) => (world: World, box: Box) =>
  until(
    `${name} ${result}`,
    async () => (await timeline(world.server, box)).some((event) => event.name === name && event.result === result),
    { every: 10 },
  )

// In the order of the way, each by something that is seen, not by time.
const points: Point[] = [
  { name: 'before the network is up', come: () => sleep(250) },
  { name: 'cloud-init has begun', come: file('/run/cloud-init/enabled') },
  {
    name: 'the box asks for a nonce',
    come: ({ lab }, box) => until('a connection', () => lab.line.count(box.ip) >= 1, { every: 2 }),
  },
  { name: 'the claim is answered, the answer never arrives', come: lostAnswer },
  { name: 'the document has arrived', come: file('/run/rollcall/user-data') },
  { name: 'the first file of the document is there', come: firstFile },
  { name: 'the last file of the document is there', come: file('/usr/local/sbin/rollcall-node') },
  { name: 'the document counts as applied', come: file('/var/lib/rollcall/applied') },
  { name: 'the binary was fetched', come: step('k3s.download', 'ok') },
  { name: 'the installer has run', come: file('/var/lib/lab/installer.runs') },
  { name: 'K3s starts', come: file('/var/lib/lab/k3s.starts') },
]

/** The power goes at each point of the way; switched on again, the box ends ready all the same. */
export function cutCases(world: World): Case[] {
  // Each point on both suites and both ways; LONG=1 takes every combination.
  const kinds = points.flatMap((point, n) =>
    ways.flatMap((way, w) =>
      suites.filter((_, v) => process.env.LONG || (n + w + v) % 2 === 0).map((suite) => ({ way, suite, point })),
    ),
  )
  return kinds.map(({ way, suite, point }, n) => ({
    name: `power cut: ${point.name}; ${way}, ${suite}`,
    run: (keep) =>
      withBox(world, { name: 'cut', way, suite }, keep, async (box) => {
        const role = (n + (n >> 1)) % 2 === 0 ? 'server' : 'agent'
        await register(world.server, box, role)
        await box.start()
        await point.come(world, box)
        await box.cut()
        world.lab.line.decide(box.ip, () => 'pass')
        await box.start()
        await reaches(world.server, box, 'ready')
        await assertInstalled(box, role)
      }),
  }))
}

// The claim is the box's second connection; its answer has left the server when the power goes.
async function lostAnswer({ lab }: World, box: Box): Promise<void> {
  await new Promise<void>((resolve) => {
    lab.line.decide(box.ip, (n) => (n === 2 ? { onAnswer: resolve } : 'pass'))
  })
}

// A temporary name beside a target counts: the cut is then in the middle of a write.
async function firstFile(_: World, box: Box): Promise<void> {
  const folder = box.path('/etc/rancher')
  await until(
    join(folder),
    () =>
      access(folder).then(
        () => true,
        () => false,
      ),
    { every: 2 },
  )
}
