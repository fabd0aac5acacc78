import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { checkIgnition } from '../../src/documents/ignition.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { Box, shells, template, until } from './box.ts'
import type { Config } from './ignition-node.ts'
import { suiteUnder } from './under.ts'

const client = template('client.sh')
const document = {
  body: '{"ignition":{"version":"3.3.0"}}\n',
  type: 'application/vnd.coreos.ignition+json;version=3.3.0',
}

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'client.sh ignition', { timeout: 60_000 })
  let server: DeviceServer
  let box: Box

  test.before.each(async () => {
    server = await DeviceServer.start()
    server.document = document
    box = new Box(server)
  })
  test.after.each(async () => {
    box.remove()
    await server.close()
  })

  const text = (source = '') => Buffer.from(source.slice('data:;base64,'.length), 'base64').toString()

  /** What it wrote: the document, and the files beside it. */
  function written() {
    assert.is(statSync(box.path('config.ign')).mode & 0o777, 0o600)
    const config = JSON.parse(box.read('config.ign')) as Config & {
      ignition: { config: { merge: { source: string }[] } }
    }
    assert.equal(checkIgnition(config), [])
    const files = config.storage.files.map(({ path, mode, contents }) => [path, { mode, text: text(contents?.source) }])
    return {
      document: text(config.ignition.config.merge[0]?.source),
      files: Object.fromEntries(files) as Record<string, { mode: number; text: string }>,
    }
  }

  once('a document for cloud-init is not taken, and the admin is told what to set', async () => {
    server.document = { body: '#cloud-config\n{}\n', type: 'text/cloud-config' }
    const running = box.start(shell, client, 'ignition', '--out', box.path('config.ign'))
    await until(() => running.stderr().includes('must say "document": "ignition"'))
    server.document = document
    assert.is((await running.ended).code, 0)
    assert.is(written().document, document.body)
  })

  test('writes the document, with key, client and settings for the installed system', async () => {
    box.env.ROLLCALL_SERIAL = 'SN 42/#'
    const { code, stderr } = await box.run(shell, client, 'ignition', '--out', box.path('config.ign'))
    assert.is(code, 0, stderr)
    const { files, ...rest } = written()
    assert.is(rest.document, document.body)
    assert.equal(files, {
      '/var/lib/rollcall/device.key': { mode: 0o600, text: box.read('state/device.key') },
      '/var/lib/rollcall/device.bind': { mode: 0o600, text: box.read('state/device.bind') },
      '/var/lib/rollcall/client.sh': { mode: 0o700, text: readFileSync(client, 'utf8') },
      '/etc/rollcall/client.env': {
        mode: 0o644,
        text: `ROLLCALL_URL='${server.url}'\nROLLCALL_PIN='${server.pin}'\nROLLCALL_AUDIENCE='${server.url}'\nROLLCALL_SERIAL='SN 42/#'\n`,
      },
    })
  })

  once('settings with quotes are read back as they are', async () => {
    box.env.ROLLCALL_AUDIENCE = server.audience = 'https://it\'s \\ "$HOME" `id`'
    assert.is((await box.run(shell, client, 'ignition', '--out', box.path('config.ign'))).code, 0)
    const script = `${written().files['/etc/rollcall/client.env']?.text}printf %s "$ROLLCALL_AUDIENCE"`
    assert.is(spawnSync('sh', ['-c', script], { encoding: 'utf8' }).stdout, server.audience)
  })

  once('a client that comes on standard input says that it cannot bring itself along', async () => {
    const [program = '', ...options] = shell
    const wrapper = `exec ${[program, ...options].join(' ')} -s ignition --out config.ign <"${client}"`
    box.command('piped', `#!/bin/sh\n${wrapper}\n`)
    const { code, stderr } = await box.run(['sh'], box.path('bin/piped'))
    assert.is(code, 0, stderr)
    assert.match(stderr, /cannot claim again by itself/)
    assert.not('/var/lib/rollcall/client.sh' in written().files)
  })
}
