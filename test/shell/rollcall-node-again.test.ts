import { closeSync, existsSync, openSync } from 'node:fs'
import * as assert from 'uvu/assert'
import type { Role } from '../../src/documents/profile.ts'
import { steps } from '../../src/roll/report.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { shared, shells } from './box.ts'
import { fileOf, IgnitionNode, k3sPath, sha256 } from './ignition-node.ts'
import { k3s } from './node.ts'
import { suiteUnder } from './under.ts'

// As in power-cut.test.ts: where no line of the file is left, the whole process group ends.
const countDown = `read -r _ <&${shared} || kill -9 0
`
const record = `printf '%s ' "$0" "$@" >>"$BOX/arguments"\n`

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'rollcall-node, where Ignition made the system and the ticket ended,', {
    timeout: 300_000,
  })
  let server: DeviceServer
  let node: IgnitionNode

  test.before.each(async () => {
    server = await DeviceServer.start()
  })
  test.after.each(async () => {
    node.remove()
    await server.close()
  })

  /** A server that has taken all steps up to its redeem; its ticket is none any more. */
  async function joining(system: 'fcos' | 'flatcar' = 'fcos', role: Role = 'server'): Promise<void> {
    node = new IgnitionNode(server, system, role)
    await node.key(shell)
    node.ignite(node.config())
    node.leave('k3s.join')
    node.write('etc/rancher/k3s/token', 'of the old enrollment\n', 0o600)
    node.write('data/rollcall', 'enr_test\n')
    node.enrollAnew()
  }

  const install = () => node.start(shell, node.script, 'install').ended

  /** As its unit does: starts it again until it is done. */
  async function untilDone(): Promise<number> {
    for (let starts = 1; starts < 6; starts++) {
      const { code, stderr } = await install()
      if (code === 0) return starts
      assert.is(code, 1, stderr)
    }
    throw new Error('it is never done')
  }

  function isReady(): void {
    const told = new Set(server.reports.map(({ step, result }) => `${step} ${result}`))
    for (const step of steps) assert.ok(told.has(`${step} ok`), step)
    assert.is(node.read('etc/rancher/k3s/token'), `${server.token}\n`)
    assert.is(node.read('active'), `${server.token}\n`)
    assert.is(node.read('data/rollcall'), 'enr_new\n')
    assert.is(node.read('state/applied'), 'enr_new\n')
    assert.match(node.read('etc/rollcall/node.env'), server.reportToken)
    assert.not(existsSync(node.path('state/steps/enr_test')))
    const left = Object.keys(node.disk()).filter((file) => /\.(new|part)$|state\/next/.test(file))
    assert.equal(left, [])
  }

  once('a document that it cannot use: it stays as it is, says so, and tries again', async () => {
    await joining()
    const config = node.config()
    fileOf(config, '/etc/rancher/k3s/config.yaml').path = '/etc/rancher/../k3s/config.yaml'
    node.answer(config)
    const before = node.read('etc/rollcall/install.env')
    const { code, stderr } = await install()
    assert.is(code, 1)
    assert.match(stderr, /not clean\. Nothing was changed\. Install this system anew/)
    assert.match(stderr, /k3s\.join fail: the join token ended, and this system cannot claim again: .*install it anew/)
    assert.is(node.read('etc/rollcall/install.env'), before)
    // The admin mends the profile.
    node.answer(node.config())
    await untilDone()
    isReady()
  })

  once('one that had joined and may not claim again: it goes on when its K3s comes up late', async () => {
    await joining()
    node.write('state/steps/enr_test/redeemed', '\n')
    node.command('systemctl', '#!/bin/sh\ncase $* in *is-active*) [ -e "$BOX/active" ] ;; esac\n')
    server.plan('/v1/claim', { status: 409, body: 'reenroll_denied' })
    const { code, stderr } = await install()
    assert.is(code, 1)
    assert.match(stderr, /k3s\.join fail: .*verb reenroll/)
    node.write('active', 'of the old enrollment\n')
    assert.is((await install()).code, 0)
    assert.is(server.requests('/v1/claim').length, 1)
    assert.is(node.read('state/applied'), 'enr_test\n')
  })

  once('a K3s that is not the one on record is never run', async () => {
    await joining()
    const config = node.config()
    fileOf(config, '/usr/local/bin/k3s').contents = {
      source: `${server.url}${k3sPath}`,
      verification: { hash: `sha256-${'0'.repeat(64)}` },
    }
    node.answer(config)
    assert.is((await install()).code, 1)
    assert.is((await install()).code, 1)
    const last = server.reports.at(-1)
    assert.equal([last?.step, last?.result], ['k3s.download', 'fail'])
    assert.match(last?.detail ?? '', 'its SHA-256 is not the one on record')
    assert.is(node.read(node.k3s), k3s)
    assert.not(existsSync(node.path('active')))
  })

  test('claims again and ends ready, with all that the new document says', async () => {
    await joining()
    assert.is(await untilDone(), 2)
    isReady()
    // K3s is the same, so it was not fetched.
    assert.is(server.requests(k3sPath).length, 0)
  })

  once('so it does on Flatcar', async () => {
    await joining('flatcar')
    await untilDone()
    isReady()
  })

  once('another version of K3s since: it is fetched, and checked', async () => {
    await joining()
    const newer = `${k3s}# of another version\n`
    server.downloads.set(k3sPath, Buffer.from(newer))
    const config = node.config()
    fileOf(config, '/usr/local/bin/k3s').contents = {
      source: `${server.url}${k3sPath}`,
      verification: { hash: `sha256-${sha256(newer)}` },
    }
    node.answer(config)
    await untilDone()
    isReady()
    assert.is(node.read(node.k3s), newer)
  })

  once('an agent that never joined within its day does so too', async () => {
    await joining('fcos', 'agent')
    node.write('state/steps/enr_test/k3s.join', 'k3s.join\n')
    node.write('state/steps/enr_test/rounds', '150\n')
    node.write('usr/local/bin/k3s', '#!/bin/sh\nexit 1\n', 0o755)
    assert.is((await install()).code, 1)
    await install()
    assert.match(node.read('etc/rollcall/install.env'), 'enr_new')
    assert.match(node.read('etc/rancher/k3s/token'), 'K10')
    assert.ok(server.requests(k3sPath).length > 0)
  })

  once('the power goes between any two commands, and it still ends ready', async () => {
    await joining()
    node.wrap(countDown)
    let starts = 0
    for (let allowed = 3; ; allowed += 13) {
      node.write('allowed', '\n'.repeat(allowed))
      node.handle = openSync(node.path('allowed'), 'r')
      const { code, stderr } = await install()
      closeSync(node.handle)
      starts++
      if (code === 0) break
      assert.ok(starts < 90, `it gets no further:\n${stderr}`)
    }
    assert.ok(starts > 3)
    isReady()
  })

  once('no argument of any process is a secret', async () => {
    await joining()
    node.wrap(record)
    await untilDone()
    const seen = node.read('arguments')
    assert.match(seen, 'base64 -d')
    const secrets = [server.ticket, server.reportToken, server.token, server.credential, 'PRIVATE KEY']
    const encoded = secrets.map((secret) => Buffer.from(secret).toString('base64').slice(0, 16))
    for (const secret of [...secrets, ...encoded]) assert.not(seen.includes(secret), secret)
  })
}
