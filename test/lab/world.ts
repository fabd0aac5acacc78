import { join } from 'node:path'
import type { Artifacts } from './artifacts.ts'
import type { Box } from './box.ts'
import type { Suite } from './factory.ts'
import type { Images, Way } from './images.ts'
import type { Lab } from './lab.ts'
import type { Server } from './server.ts'

/** What every case stands on. */
export type World = { lab: Lab; server: Server; artifacts: Artifacts; cache: string; images: Images }

/** Unpacks a box, lets `use` do with it what it likes, and throws it away; its console is kept if that fails. */
export async function withBox(
  { lab, images }: World,
  { name, way, suite, disk }: { name: string; way: Way; suite: Suite; disk?: Box },
  keep: (file: string) => void,
  use: (box: Box) => Promise<void>,
): Promise<void> {
  const box = await lab.unpack(name, images[way][suite], disk)
  keep(join(box.dir, 'console'))
  keep(join(box.dir, 'init.log'))
  keep(box.path('/var/log/cloud-init.log'))
  keep(box.path('/var/log/cloud-init-output.log'))
  try {
    await use(box)
    await box.scrap()
  } catch (error) {
    // What is kept is read later: the box stops, its disk stays.
    await box.cut()
    throw error
  }
}
