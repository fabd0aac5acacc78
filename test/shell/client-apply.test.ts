import { execFileSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import type { Role } from '../../src/documents/profile.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { shared, shells, template } from './box.ts'
import { dataUrl, fileOf, IgnitionNode, k3sPath, sha256 } from './ignition-node.ts'
import { k3s } from './node.ts'
import { refused, without } from './refused-documents.ts'
import { suiteUnder } from './under.ts'

const client = template('client.sh')
// As in power-cut.test.ts: where no line of the file is left, the whole process group ends.
const countDown = `read -r _ <&${shared} || kill -9 0
`

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'client.sh apply, where Ignition made the system,', { timeout: 120_000 })
  let server: DeviceServer
  let node: IgnitionNode

  test.before.each(async () => {
    server = await DeviceServer.start()
    node = new IgnitionNode(server, 'fcos', 'agent')
    await node.key(shell)
    node.ignite(node.config())
    node.enrollAnew()
  })
  test.after.each(async () => {
    node.remove()
    await server.close()
  })

  const apply = () => node.run(shell, client, 'apply')

  /** Claims, and sees that nothing on the disk has changed. */
  async function isRefused(said: RegExp): Promise<void> {
    const { 'state/device.bind': _, ...before } = node.disk()
    const { code, stderr } = await apply()
    const { 'state/device.bind': __, ...after } = node.disk()
    assert.is(code, 1, stderr)
    assert.match(stderr, said)
    assert.match(stderr, /Nothing was changed. Install this system anew/)
    assert.equal(after, before)
  }

  /** Runs the client until it has run so many commands. */
  async function cut(command: string, allowed: number): Promise<number | null> {
    node.write('allowed', '\n'.repeat(allowed))
    node.handle = openSync(node.path('allowed'), 'r')
    const { code } = await node.run(shell, client, command)
    closeSync(node.handle)
    node.handle = undefined
    return code
  }

  once('refuses a system without a key, and asks nobody', async () => {
    node.delete('state/device.key')
    const { code, stderr } = await apply()
    assert.is(code, 1)
    assert.match(stderr, /install it anew/)
    assert.is(server.seen.length, 0)
  })

  once('refuses a system without awk before it claims', async () => {
    node.env.PATH = node.path('bin')
    for (const tool of ['curl', 'openssl', 'mkdir', 'mktemp', 'rm', 'tr', 'printf'])
      node.command(tool, `#!/bin/sh\nPATH=/usr/bin:/bin exec ${tool} "$@"\n`)
    const own = readFileSync(client, 'utf8').replace(/^LC_ALL=C PATH=.*$/m, 'LC_ALL=C')
    node.write('client.sh', own)
    const [program = '', ...options] = shell
    const there = execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim()
    const { code, stderr } = await node.run([there, ...options], node.path('client.sh'), 'apply')
    assert.is(code, 1)
    assert.match(stderr, /awk is missing/)
    assert.is(server.seen.length, 0)
  })

  once('refuses a document for cloud-init', async () => {
    server.document = { body: '#cloud-config\n{}\n', type: 'text/cloud-config' }
    await isRefused(/gave text\/cloud-config/)
  })

  once('does not wait for an admin: K3s may come up by itself, and nobody else looks after it', async () => {
    server.plan('/v1/claim', { status: 409, body: 'reenroll_denied' })
    const { 'state/device.bind': _, ...before } = node.disk()
    const { code, stderr } = await apply()
    const { 'state/device.bind': __, ...after } = node.disk()
    assert.is(code, 1, stderr)
    assert.match(stderr, /verb reenroll/)
    assert.is(server.requests('/v1/claim').length, 1)
    assert.equal(after, before)
  })

  test('refuses a document that ends anywhere but at its end', async () => {
    const { body } = server.document
    for (const part of [0.001, 0.3, 0.999]) {
      node.answer(body.slice(0, Math.ceil(body.length * part)))
      await isRefused(/not the JSON that this machine can read/)
    }
    node.answer(`${body}{}`)
    await isRefused(/not the JSON/)
  })

  for (const [what, said, spoil] of refused) {
    once(`refuses a document ${what}`, async () => {
      const config = node.config()
      spoil(config)
      node.answer(config)
      await isRefused(said)
    })
  }

  once('refuses a document for another system, for another role, and of another enrollment', async () => {
    node.answer(node.config('agent', 'flatcar'))
    await isRefused(/another kind of system \(flatcar agent/)
    node.answer(node.config('server'))
    await isRefused(/another kind of system \(fcos server/)
    node.answer(node.config())
    server.enrollment = 'enr_other'
    await isRefused(/that of another enrollment/)
  })

  once('a refusal is told to the new enrollment, since nobody takes the old one any more', async () => {
    const config = node.config()
    without('/etc/rancher/k3s/config.yaml')(config)
    node.answer(config)
    await apply()
    assert.equal(
      server.reports.map(({ step, result }) => `${step} ${result}`),
      ['document.applied fail'],
    )
    assert.match(server.reports[0]?.detail ?? '', /has no \/etc\/rancher\/k3s\/config\.yaml; install it anew/)
  })

  test('leaves the new files beside the old ones until all of them are there', async () => {
    const before = node.disk()
    const { code, stderr } = await apply()
    assert.is(code, 0, stderr)
    const after = node.disk()
    const changed = Object.keys(after).filter((file) => after[file] !== before[file])
    for (const file of changed) assert.match(file, /^state\/(next(\/|$)|device\.bind$)/)
    assert.match(node.read('state/next/complete'), `0600 1 ${node.path('etc/rollcall/node.env')}\n`)
  })

  test('the power goes while it claims: nothing has changed, or all of the document is there', async () => {
    const before = node.disk()
    node.wrap(countDown)
    for (let allowed = 2; !existsSync(node.path('state/next/complete')); allowed += 9) {
      assert.ok(allowed < 600)
      await cut('apply', allowed)
      for (const [file, seen] of Object.entries(node.disk()))
        if (!/^state\/(next(\/|$)|device\.(bind|key))/.test(file)) assert.is(seen, before[file], file)
    }
    const lines = node.read('state/next/complete').trimEnd().split('\n')
    for (const line of lines) assert.match(line, /^0[67]00 \d+ \//)
    assert.ok(lines.every((_, n) => existsSync(node.path(`state/next/${n + 1}`))))
  })

  test('the power goes between any two commands while files change: done again, all of them are the new ones', async () => {
    await apply()
    const files = node
      .read('state/next/complete')
      .trim()
      .split('\n')
      .map((line) => line.split(' ')[2] ?? '')
    const wanted = files.map((_, n) => node.read(`state/next/${n + 1}`))
    node.wrap(countDown)
    let starts = 0
    for (let allowed = 1; ; allowed += 2) {
      starts++
      if ((await cut('place', allowed)) === 0) break
      assert.ok(allowed < 600)
    }
    assert.ok(starts > 15, `${starts}`)
    assert.equal(
      files.map((file) => readFileSync(file, 'utf8')),
      wanted,
    )
    assert.is(Object.keys(node.disk()).filter((file) => /state\/next|\.new$/.test(file)).length, 0)
  })

  for (const role of ['agent', 'server'] as Role[]) {
    for (const system of ['fcos', 'flatcar'] as const) {
      once(`puts the files of ${role} and ${system} in place as the document has them, and no other`, async () => {
        const own = new IgnitionNode(server, system, role)
        await own.key(shell)
        server.enrollment = 'enr_test'
        own.ignite(own.config())
        own.enrollAnew()
        const config = own.config()
        // What is the system's: another document would have it otherwise, and it stays.
        fileOf(config, '/etc/hostname').contents = { source: dataUrl('elsewhere\n') }
        config.storage.files.push({ path: '/etc/shadow', mode: 0, contents: { source: dataUrl('root::::::::\n') } })
        own.answer(config)
        for (const command of ['apply', 'place']) {
          const { code, stderr } = await own.run(shell, client, command)
          assert.is(code, 0, stderr)
        }
        const disk = own.disk()
        for (const { path, mode, contents } of own.config().storage.files) {
          if (!/^\/etc\/(rollcall|rancher)\/|rollcall-node$/.test(path)) continue
          const text = Buffer.from(contents?.source?.split(',')[1] ?? '', 'base64').toString('latin1')
          assert.is(disk[path.slice(1)], `${(mode as number).toString(8)} ${sha256(text)}`, path)
        }
        assert.match(own.read('etc/rollcall/install.env'), 'enr_new')
        assert.is(own.read('etc/hostname'), 'sn-0001\n')
        assert.not('etc/shadow' in disk)
        assert.is(own.read('state/k3s.source'), `${sha256(k3s)} ${server.url}${k3sPath}\n`)
        assert.is(Object.keys(disk).filter((file) => /next|\.new$/.test(file)).length, 0)
        own.remove()
      })
    }
  }

  once('K3s in a container: its unit and its program come with the document, and it stays in a container', async () => {
    const image = (digest: string) => `docker.io/rancher/k3s:v1.36.3-k3s1@sha256:${digest.repeat(64)}`
    const inContainer = (digest: string) =>
      node.config('server', 'fcos', { runtime: 'container', image: image(digest) })
    const old = inContainer('1')
    node.answer(old)
    await isRefused(/another kind of system \(fcos server in a container\) than this one \(fcos agent/)
    node.ignite(old)
    node.answer(inContainer('2'))
    for (const command of ['apply', 'place']) assert.is((await node.run(shell, client, command)).code, 0)
    assert.match(node.read('etc/containers/systemd/k3s.container'), `Image=${image('2')}\n`)
    assert.match(node.read('etc/rollcall/install.env'), `ROLLCALL_CONTAINER='${image('2')}'`)
    assert.match(node.disk()['usr/local/bin/k3s'] ?? '', /^755 /)
    assert.not(existsSync(node.path('state/k3s.source')))
  })

  once('K3s in a container by Docker: a new document brings its unit anew', async () => {
    const config = (digest: string) =>
      node.config('server', 'flatcar', {
        runtime: 'container',
        image: `docker.io/rancher/k3s@sha256:${digest.repeat(64)}`,
      })
    node.ignite(config('1'))
    node.answer(config('2'))
    for (const command of ['apply', 'place']) assert.is((await node.run(shell, client, command)).code, 0)
    assert.match(node.read('etc/systemd/system/k3s.service'), `docker.io/rancher/k3s@sha256:${'2'.repeat(64)} server `)
    assert.match(node.disk()['opt/bin/k3s'] ?? '', /^755 /)
  })

  once('takes away what the new document does not have, and leaves what an admin wrote', async () => {
    const registries = 'etc/rancher/k3s/registries.yaml'
    for (const [text, stays] of [
      ["# Rollcall's\nmirrors: {}\n", false],
      ['mirrors: {}\n', true],
    ] as const) {
      node.write(registries, text)
      node.write('etc/rollcall/k3s.env', 'KINE=1\n')
      await apply()
      assert.is((await node.run(shell, client, 'place')).code, 0)
      assert.is(registries in node.disk(), stays)
      assert.not('etc/rollcall/k3s.env' in node.disk())
    }
  })

  once('stops what belongs to the old enrollment before its files change', async () => {
    await apply()
    node.command('mv', '#!/bin/sh\necho "mv" >>"$BOX/systemctl"\nexec /bin/mv "$@"\n')
    await node.run(shell, client, 'place')
    const [first = ''] = node.read('systemctl').split('mv\n')
    for (const unit of ['k3s', 'k3s-agent', 'rollcall-node']) assert.match(first, `disable ${unit}\n`)
    assert.match(first, 'stop k3s-agent\n')
  })
}
