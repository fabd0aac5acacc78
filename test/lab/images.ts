import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { imageSeedCommand } from '../../src/cli/image-seed.ts'
import type { Artifacts } from './artifacts.ts'
import { type Suite, suites } from './factory.ts'
import type { Lab, Layers } from './lab.ts'
import type { Server } from './server.ts'

export const ways = ['golden image', 'stage one'] as const
export type Way = (typeof ways)[number]

/** `plain`: no cloud-init, as an image that Ignition sets up */
export type Images = Record<Way | 'plain', Record<Suite, Layers>>

/** The images that an admin makes with `rollcall image-seed`, one a way and suite. */
export async function seededImages(lab: Lab, server: Server, artifacts: Artifacts): Promise<Images> {
  const stick = join(lab.dir, 'stick')
  await seed(server, stick, '--stage-one')
  const seedfrom = artifacts.serveUserData('stage-one', await readFile(join(stick, 'user-data'), 'utf8'))
  const images: Images = { 'golden image': {} as never, 'stage one': {} as never, plain: {} as never }
  for (const suite of suites) {
    images['golden image'][suite] = await lab.image(`golden-${suite}`, suite, (root) => seed(server, root))
    images.plain[suite] = await lab.image(`plain-${suite}`, suite, (root) =>
      writeFile(join(root, 'etc/cloud/cloud-init.disabled'), ''),
    )
    images['stage one'][suite] = await lab.image(`stage-one-${suite}`, suite, async (root) => {
      // It stays in the image as another admin's data source would, and must not win over the seed later.
      // One key a line: ds-identify reads it with the shell, not as YAML.
      const source = `datasource_list: [NoCloud]\ndatasource:\n  NoCloud:\n    seedfrom: ${seedfrom}\n`
      await writeFile(join(root, 'etc/cloud/cloud.cfg.d/80-source.cfg'), source)
    })
  }
  return images
}

/** Makes an image's disk call in, as an admin does with `rollcall image-seed`. */
export async function seed(server: Server, directory: string, ...flags: string[]): Promise<void> {
  const args = [...flags, '--url', server.publicUrl, '--pin', server.pins, directory]
  await imageSeedCommand(args, { env: {}, out: () => {}, err: () => {} })
}
