import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import { suite } from '../suite.ts'
import { Box, shells, template, until } from './box.ts'
import { installer, k3s, Node } from './node.ts'

const script = template('rollcall-node.sh')
const steps = ['clock', 'document.applied', 'os.update', 'k3s.download', 'k3s.install', 'k3s.join', 'k3s.ready']

for (const [name, shell] of shells) {
  const test = suite(`rollcall-node install under ${name}`)
  let server: DeviceServer
  let node: Node

  test.before.each(async () => {
    server = await DeviceServer.start()
    node = new Node(server)
  })
  test.after.each(async () => {
    node.remove()
    await server.close()
  })

  test('takes a server to ready, each step reported once and in order', async () => {
    await node.key(shell, template('client.sh'))
    node.document('server')
    const { code, stderr } = await node.run(shell, script, 'install')
    assert.is(code, 0, stderr)
    const told = server.reports.map(({ step, result }) => `${step} ${result}`)
    assert.equal(
      told,
      steps.flatMap((step) => [`${step} start`, `${step} ok`]),
    )
    assert.is(node.read('etc/rancher/k3s/token'), `${server.token}\n`)
  })
}
