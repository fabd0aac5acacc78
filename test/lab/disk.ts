import assert from 'node:assert/strict'
import { stat } from 'node:fs/promises'
import type { Box } from './box.ts'
import { apiEndpoint, caHash, type Role, version } from './roll.ts'

// PROTOCOL.md, "Files on the node".
const modes: Record<string, number> = {
  '/etc/rancher/k3s/config.yaml': 0o600,
  '/etc/rancher/k3s/token': 0o600,
  '/etc/rancher/node/password': 0o600,
  '/etc/rollcall/node.env': 0o600,
  '/etc/rollcall/install.env': 0o600,
  '/etc/cloud/cloud.cfg.d/99-rollcall.cfg': 0o644,
  '/usr/local/sbin/rollcall-node': 0o700,
  '/var/lib/rollcall': 0o700,
  '/var/lib/rollcall/device.key': 0o600,
}

/** Right files, modes, owners; the installer called with the right environment, once; nothing secret where others read it. */
export async function assertInstalled(box: Box, role: Role): Promise<void> {
  for (const [file, mode] of Object.entries(modes)) {
    const found = await stat(box.path(file)).catch(() => assert.fail(`${file} is missing`))
    assert.equal(found.mode & 0o7777, mode, `mode of ${file}: ${(found.mode & 0o7777).toString(8)}`)
    assert.deepEqual([found.uid, found.gid], [0, 0], `owner of ${file}`)
  }
  assert.match((await box.read('/etc/rancher/node/password')) ?? '', /^[0-9a-f]{32}\n?$/)
  assert.equal((await box.read('/etc/hostname'))?.trim(), box.serial.toLowerCase())
  assert.match((await box.read('/etc/cloud/cloud.cfg.d/99-rollcall.cfg')) ?? '', /^manual_cache_clean: true$/m)
  await assertConfig(box, role)
  await assertToken(box, role)
  await assertInstaller(box, role)
}

async function assertConfig(box: Box, role: Role): Promise<void> {
  const config = (await box.read('/etc/rancher/k3s/config.yaml')) ?? ''
  const wanted = {
    server: [
      /^"?datastore-endpoint"?: "postgres:\/\/k3s:n1%25pw@db\.lab\.example:5432\/k3s\?sslmode=verify-full"$/m,
      /extra\.lab\.example/,
      /k3s\.lab\.example/,
    ],
    agent: [new RegExp(`^"?server"?: "${apiEndpoint}"$`, 'm')],
  }
  for (const line of wanted[role]) assert.match(config, line)
  assert.match(config, new RegExp(`^"?node-name"?: "${box.serial.toLowerCase()}"$`, 'm'))
  assert.match(config, /^"?token-file"?: "\/etc\/rancher\/k3s\/token"$/m)
}

async function assertToken(box: Box, role: Role): Promise<void> {
  const token = (await box.read('/var/lib/lab/k3s.token'))?.trim() ?? ''
  const form = { server: /^[0-9a-f]{64}$/, agent: new RegExp(`^K10${caHash}::[a-z0-9]{6}\\.[a-z0-9]{16}$`) }
  assert.match(token, form[role])
}

async function assertInstaller(box: Box, role: Role): Promise<void> {
  const lines = ((await box.read('/var/lib/lab/installer.env')) ?? '').trim().split('\n')
  const seen = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
  assert.equal(seen.INSTALL_K3S_VERSION, version)
  assert.equal(seen.INSTALL_K3S_EXEC, role)
  assert.equal(seen.INSTALL_K3S_SKIP_DOWNLOAD, 'binary')
  assert.deepEqual(
    Object.keys(seen).filter((name) => name.startsWith('K3S_')),
    [],
    'no K3S_… variable: the installer writes those into a unit',
  )
  assert.equal(
    await box.read('/var/lib/lab/installer.args'),
    '0\n',
    'no argument: they end in a unit that everybody can read',
  )
  const unit = await box.read(`/etc/systemd/system/${role === 'server' ? 'k3s' : 'k3s-agent'}.service`)
  const token = (await box.read('/etc/rancher/k3s/token'))?.trim() ?? ''
  assert.ok(unit && token && !unit.includes(token))
}
