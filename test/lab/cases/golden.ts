import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Case } from '../case.ts'
import { attempt } from '../command.ts'
import { suites } from '../factory.ts'
import type { World } from '../world.ts'

const folder = fileURLToPath(new URL('../../golden', import.meta.url))

type Golden = { name: string; text: string }

/** Every document in test/golden is one that the real programs take. */
export function goldenCases({ lab, cache, images }: World): Case[] {
  const cloudConfig = suites.map((suite) => ({
    name: `golden documents: cloud-init schema, ${suite}`,
    run: async () => {
      const documents = (await goldens()).filter(({ text }) => text.startsWith('#cloud-config'))
      assert.ok(documents.length > 0, 'no cloud-config in test/golden')
      const box = await lab.unpack('schema', images['golden image'][suite])
      for (const { name, text } of documents) {
        await writeFile(box.path('/root/document'), text)
        const { code, stdout, stderr } = await attempt('chroot', [
          box.path('/'),
          'cloud-init',
          'schema',
          '-c',
          '/root/document',
        ])
        assert.ok(code === 0 && /^Valid/m.test(stdout), `${name}\n${stdout}${stderr}`)
      }
      await box.scrap()
    },
  }))
  const ignition = {
    name: 'golden documents: ignition-validate',
    run: async () => {
      const documents = (await goldens()).filter(({ text }) => isIgnition(text))
      assert.ok(documents.length > 0, 'no Ignition document in test/golden')
      const dir = await mkdtemp(join(lab.dir, 'validate-'))
      for (const { name, text } of documents) {
        const file = join(dir, 'document.ign')
        await writeFile(file, text)
        const { code, stdout, stderr } = await attempt(join(cache, 'ignition/usr/bin/ignition-validate'), [file])
        // Unknown keys are only warned of, and are a typing error all the same.
        assert.equal(`${code}${stdout}${stderr}`, '0', `${name}\n${stdout}${stderr}`)
      }
    },
  }
  return [...cloudConfig, ignition]
}

async function goldens(): Promise<Golden[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return Promise.all(files.map(async (name) => ({ name, text: await readFile(name, 'utf8') })))
}

function isIgnition(text: string): boolean {
  try {
    return typeof (JSON.parse(text) as { ignition?: { version?: string } }).ignition?.version === 'string'
  } catch {
    return false
  }
}
