import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { steps } from '../../src/roll/report.ts'
import { builtinTemplates } from '../../src/services/builtin-templates.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { shared, shells, until } from './box.ts'
import { Node } from './node.ts'
import { suiteUnder } from './under.ts'

/** In the form in which documents carry it. */
const script = builtinTemplates().files['rollcall-node.sh'] as string

// Each command takes a line of one file that all have open; where none is left, the whole process group ends.
const countDown = `read -r _ <&${shared} || kill -9 0
`
const record = `printf '%s ' "$0" "$@" >>"$BOX/arguments"\n`
const slow = '/bin/sleep 0.02\n'

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'rollcall-node, cut off,', { timeout: 300_000 })
  let server: DeviceServer
  let node: Node

  test.before.each(async () => {
    server = await DeviceServer.start()
    node = new Node(server)
    await node.key(shell)
    node.document('server')
    node.write('rollcall-node', script)
  })
  test.after.each(async () => {
    node.remove()
    await server.close()
  })

  const install = () => node.start(shell, node.path('rollcall-node'), 'install')
  const isReady = () => {
    const told = new Set(server.reports.map(({ step, result }) => `${step} ${result}`))
    for (const step of steps) assert.ok(told.has(`${step} ok`), step)
    assert.is(node.read('etc/rancher/k3s/token'), `${server.token}\n`)
    assert.not(node.read('etc/rollcall/node.env').includes('ROLLCALL_JOIN'))
    assert.match(node.read('etc/rollcall/node.env'), 'ROLLCALL_REPORT=')
    assert.is(node.read('active'), `${server.token}\n`)
    assert.match(node.read('installer.env'), 'INSTALL_K3S_VERSION=v1.36.3+k3s1\n')
    const left = readdirSync(node.root, { recursive: true }).filter((file) => /\.(new|part)$/.test(String(file)))
    assert.equal(left, [])
  }

  once('at the beginning of each step, it still ends ready', async () => {
    for (const step of steps) {
      const running = install()
      await until(() => existsSync(node.path(`state/steps/enr_test/${step}.start`)))
      const { signal } = await running.kill()
      assert.is(signal, 'SIGKILL', step)
    }
    assert.is((await install().ended).code, 0)
    isReady()
  })

  test('between any two commands, it still ends ready', async () => {
    // Each start may run a few commands more than the one before, until one gets through.
    node.wrap(countDown)
    let starts = 0
    for (let allowed = 3; ; allowed += 5) {
      node.write('allowed', '\n'.repeat(allowed))
      node.handle = openSync(node.path('allowed'), 'r')
      const { code, stderr } = await install().ended
      closeSync(node.handle)
      starts++
      if (code === 0) break
      assert.ok(starts < 60, `it gets no further:\n${stderr}`)
    }
    assert.ok(starts > 3)
    isReady()
  })

  once('no argument of any process is a secret', async () => {
    node.wrap(record)
    assert.is((await install().ended).code, 0)
    const seen = node.read('arguments')
    assert.match(seen, '--pinnedpubkey')
    const secrets = [server.ticket, server.reportToken, server.token, 'node-credential', 'PRIVATE KEY']
    for (const secret of secrets) assert.not(seen.includes(secret), secret)
  })

  once('what runs at any moment shows no secret in /proc', async () => {
    node.wrap(slow)
    const running = install()
    const seen = new Set<string>()
    let ended = false
    void running.ended.then(() => {
      ended = true
    })
    while (!ended) {
      for (const id of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) seen.add(commandLine(id))
      await new Promise((done) => setTimeout(done, 5))
    }
    assert.is((await running.ended).code, 0)
    const ours = [...seen].filter((line) => line.includes('pinnedpubkey'))
    assert.ok(ours.length > 0)
    const secrets = [server.ticket, server.reportToken, server.token, 'node-credential']
    for (const line of seen) for (const secret of secrets) assert.not(line.includes(secret), line)
  })
}

function commandLine(id: string): string {
  try {
    return readFileSync(`/proc/${id}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}
