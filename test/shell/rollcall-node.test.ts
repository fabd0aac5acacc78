import { existsSync, readdirSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { steps } from '../../src/roll/report.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { shells, template } from './box.ts'
import { Node } from './node.ts'
import { suiteUnder } from './under.ts'

const script = template('rollcall-node.sh')
const timeout = 120_000

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'rollcall-node install', { timeout })
  let server: DeviceServer
  let node: Node

  test.before.each(async () => {
    server = await DeviceServer.start()
    node = new Node(server)
    await node.key(shell)
  })
  test.after.each(async () => {
    node.remove()
    await server.close()
  })

  const install = () => node.run(shell, script, 'install')
  const passes = async () => {
    const { code, stderr } = await install()
    assert.is(code, 0, stderr)
  }
  const told = () => server.reports.map(({ step, result }) => `${step} ${result}`)
  const detail = (step: string, result: string) =>
    server.reports.find((report) => report.step === step && report.result === result)?.detail ?? 'none'
  const installed = () => existsSync(node.path('installer.runs'))
  const mode = (file: string) => statSync(node.path(file)).mode & 0o777

  test('does nothing until every file of the document is there', async () => {
    for (const missing of [
      'rollcall/node.env',
      'rollcall/install.env',
      'rancher/k3s/config.yaml',
      'rancher/k3s/token',
    ]) {
      node.document('agent')
      node.delete(`etc/${missing}`)
      const { code } = await install()
      assert.is(code, 1, missing)
    }
    assert.is(server.seen.length, 0)
    assert.not(existsSync(node.path('state/applied')))
  })

  once('waits while this boot has claimed another document than the one on the disk', async () => {
    node.document('server')
    node.write('run/enrollment', 'enr_new\n')
    const { code, stderr } = await install()
    assert.is(code, 1)
    assert.match(stderr, 'enr_new')
    assert.not(existsSync(node.path('state/applied')))
  })

  test('runs nothing whose SHA-256 is not the one on record', async () => {
    for (const one of ['ROLLCALL_SCRIPT_SHA256', 'ROLLCALL_BINARY_SHA256_amd64', 'ROLLCALL_BINARY_SHA256_arm64']) {
      node.document('server', { [one]: '0'.repeat(64) })
      if (one.endsWith(process.arch === 'x64' ? 'arm64' : 'amd64')) continue
      assert.is((await install()).code, 1, one)
      assert.not(installed())
      assert.match(detail('k3s.download', 'fail'), 'its SHA-256 is not the one on record')
    }
    assert.not(existsSync(node.path('usr/bin/k3s')))
  })

  once('runs no install script that changed on the disk, and fetches it again', async () => {
    node.leave('k3s.install')
    node.document('server')
    node.write('state/steps/enr_test/k3s.download', '')
    node.write('state/install.sh', '#!/bin/sh\necho changed >"$BOX/installer.runs"\n', 0o700)
    assert.is((await install()).code, 1)
    assert.not(installed())
    await passes()
    assert.is(node.read('installer.runs'), 'x\n')
  })

  test('takes a server to ready, each step reported in order', async () => {
    node.document('server')
    await passes()
    assert.equal(
      told(),
      steps.flatMap((step) => [`${step} start`, `${step} ok`]),
    )
    assert.is(node.read('state/applied'), 'enr_test\n')
    assert.is(node.read('etc/rancher/k3s/token'), `${server.token}\n`)
    assert.is(node.read('active'), `${server.token}\n`)
  })

  test('the installer sees its variables and no secret', async () => {
    node.leave('k3s.install')
    node.document('server', { INSTALL_K3S_EXEC: "server it's 100% $HOME" })
    await passes()
    assert.is(
      node.read('installer.env'),
      [
        `INSTALL_K3S_BIN_DIR=${node.path('usr/bin')}`,
        "INSTALL_K3S_EXEC=server it's 100% $HOME",
        'INSTALL_K3S_SKIP_DOWNLOAD=binary',
        'INSTALL_K3S_SKIP_START=true',
        'INSTALL_K3S_VERSION=v1.36.3+k3s1',
        '',
      ].join('\n'),
    )
    assert.is(node.read('installer.args'), '0\n')
  })

  once('what it writes is for root alone, what programs need is not', async () => {
    node.document('server')
    await passes()
    assert.is(mode('etc/rancher/k3s/token'), 0o600)
    assert.is(mode('etc/rollcall/node.env'), 0o600)
    assert.is(mode('state/install.sh'), 0o700)
    assert.is(mode('usr/bin/k3s'), 0o755)
    assert.is(mode('installer.env'), 0o644)
  })

  once('once ready, a further start asks nothing of anybody', async () => {
    node.document('server')
    await passes()
    const before = server.seen.length
    await passes()
    assert.is(server.seen.length, before)
    assert.is(node.read('installer.runs'), 'x\n')
  })

  once('a new enrollment takes all steps again', async () => {
    node.document('server')
    await passes()
    server.enrollment = 'enr_second'
    node.document('server')
    await passes()
    assert.equal(readdirSync(node.path('state/steps')), ['enr_second'])
    assert.is(node.read('installer.runs'), 'x\nx\n')
    assert.match(node.read('systemctl'), /(restart k3s[\s\S]*){2}/)
  })

  test('a download that breaks off is gone on with', async () => {
    node.leave('k3s.download')
    node.document('server')
    server.plan('/assets/k3s', { fault: 'half' })
    await passes()
    const [, second] = server.requests('/assets/k3s')
    assert.match(second?.headers.range ?? '', /^bytes=[1-9]\d*-$/)
  })

  once('where the admin allowed it, what is not pinned is installed, and said to be so', async () => {
    node.leave('k3s.download')
    node.document('server', {
      ROLLCALL_SCRIPT_SHA256: '',
      ROLLCALL_BINARY_SHA256_amd64: '',
      ROLLCALL_BINARY_SHA256_arm64: '',
    })
    await passes()
    assert.is(detail('k3s.download', 'ok'), 'not pinned')
  })

  once('an Ignition system brings K3s and its unit itself', async () => {
    node.document('agent', {
      ROLLCALL_OS: 'fcos',
      ROLLCALL_SCRIPT_URL: '',
      ROLLCALL_BINARY_URL_amd64: '',
      ROLLCALL_BINARY_URL_arm64: '',
    })
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.download', 'fail'), 'there is no K3s')
    node.command('k3s', '')
    node.write('usr/bin/k3s', '#!/bin/sh\nprintf True\n', 0o755)
    await passes()
    assert.not(installed())
    assert.match(node.read('systemctl'), 'daemon-reload\n')
  })

  once('updates and restarts once where it must, then goes on', async () => {
    node.leave('os.update', 'k3s.install')
    node.document('server', { ROLLCALL_OS: 'rocky', ROLLCALL_UPDATE: '1', ROLLCALL_PACKAGES: 'chrony vim' })
    node.command('needs-restarting', '#!/bin/sh\nexit 1\n')
    assert.is((await install()).code, 1)
    assert.ok(existsSync(node.path('rebooted')))
    assert.not(installed())
    assert.is(node.read('tools').includes('dnf -y update\ndnf -y install chrony vim\n'), true)
    node.write('boot-id', 'boot-2\n')
    node.delete('run')
    await passes()
    assert.is(detail('os.update', 'ok'), 'restarted')
    assert.is(node.read('tools').split('dnf -y update').length, 2)
  })

  test('a failing update is reported once with its last words, however often it is tried', async () => {
    node.leave('os.update', 'k3s.install')
    node.document('server', { ROLLCALL_UPDATE: '1' })
    node.command('dnf', '#!/bin/sh\necho "no \\"mirror\\" \\\\ there" >&2\nexit 1\n')
    assert.is((await install()).code, 1)
    assert.is((await install()).code, 1)
    const fails = server.reports.filter(({ result }) => result === 'fail')
    assert.is(fails.length, 1)
    assert.match(fails[0]?.detail ?? '', 'no "mirror" \\ there')
    assert.not(installed())
  })

  once('a server that takes no reports holds nothing up; they come later, in order', async () => {
    node.document('server')
    server.plan(
      `/v1/report/${server.reportToken}`,
      ...Array.from({ length: 200 }, () => ({ status: 503, body: 'busy' })),
    )
    assert.is((await install()).code, 1)
    assert.is(node.read('active'), `${server.token}\n`)
    assert.equal(told(), [])
    server.forget()
    await passes()
    assert.equal(
      told(),
      steps.flatMap((step) => [`${step} start`, `${step} ok`]),
    )
  })

  test('what waits is told on one connection, and what the server refuses keeps nothing back', async () => {
    node.document('agent')
    const reports = ['clock start', 'clock ok', 'os.update start', 'os.update ok']
    const lines = reports.map((told) => told.split(' ')).map(([step, result]) => JSON.stringify({ step, result }))
    node.write('state/steps/enr_test/queue', `${lines.join('\n')}\n`)
    server.connections = 0
    const { code } = await node.run(shell, script, 'report', 'k3s.join', 'start')
    assert.is(code, 0)
    assert.equal(told(), [...reports, 'k3s.join start'])
    assert.is(server.connections, 1)
    server.plan(`/v1/report/${server.reportToken}`, {}, { status: 404, body: 'not_found' })
    node.write('state/steps/enr_test/queue', `${lines.slice(0, 3).join('\n')}\n`)
    assert.is((await node.run(shell, script, 'report', 'k3s.join', 'start')).code, 0)
    assert.equal(told().slice(5), ['clock start', 'os.update start', 'k3s.join start'])
    assert.is(node.read('state/steps/enr_test/queue'), '')
  })

  // The steps before K3s share theirs, but for the time that the clock is set by.
  once('an agent makes eight connections from its document to Ready, two of them to download', async () => {
    node.document('agent')
    server.connections = 0
    await passes()
    assert.is(server.connections, 8)
  })

  once('a server that takes no more in the middle is told the rest later, in order and nothing twice', async () => {
    node.document('agent')
    const lines = ['clock', 'os.update', 'k3s.install'].map((step) => JSON.stringify({ step, result: 'ok' }))
    node.write('state/steps/enr_test/queue', `${lines.join('\n')}\n`)
    server.plan(`/v1/report/${server.reportToken}`, {}, { status: 503, body: 'busy' })
    await node.run(shell, script, 'report', 'k3s.join', 'start')
    assert.equal(told(), ['clock ok'])
    await node.run(shell, script, 'report', 'k3s.join', 'ok')
    assert.equal(told(), ['clock ok', 'os.update ok', 'k3s.install ok', 'k3s.join start', 'k3s.join ok'])
  })

  test('half a report that a power cut left is passed over', async () => {
    node.leave('clock')
    node.document('server')
    node.write('state/steps/enr_test/queue', '{"step":"clock","result":"start"}\n{"step":"clo')
    await passes()
    assert.equal(told().slice(0, 3), ['clock start', 'clock start', 'clock ok'])
  })

  test('steps the clock by the server', async () => {
    node.leave('clock')
    node.document('agent')
    node.write('offset', '-1700000000')
    await passes()
    assert.ok(Math.abs(Number(node.read('offset'))) <= 2)
  })

  test('reports one line when asked to', async () => {
    node.document('agent')
    const { code } = await node.run(shell, script, 'report', 'k3s.join', 'fail', 'a "b"\nc')
    assert.is(code, 0)
    assert.equal(server.reports, [{ step: 'k3s.join', result: 'fail', detail: 'a "b" c' }])
  })
}
