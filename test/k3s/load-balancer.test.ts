import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  checkLoadBalancer,
  type Front,
  haproxyConfig,
  keepalivedConfig,
  zoneRecords,
} from '../../src/k3s/load-balancer.ts'
import { golden } from '../golden.ts'
import { suite } from '../suite.ts'

const test = suite('what stands before the servers')

const front: Front = {
  cluster: 'site-a',
  host: 'k3s.site-a.example',
  port: 6443,
  vips: ['10.1.0.10', 'fd00::10'],
  backends: [
    { name: 'sn-1', address: '127.0.0.1' },
    { name: 'sn-2', address: '::1' },
  ],
}
const network = { link: 'eth0', routerId: 51 }

test('refuses what is no address, and names that are none', () => {
  const vips = ['10.1.0.256', 'k3s.example', '10.1.0.10\n', '10.1.0', '::g', '']
  const addresses = { 'sn-1': '10.0.0.1 check', SN_2: '10.0.0.2', 'sn-3': '' }
  assert.deepEqual(
    checkLoadBalancer({ vips, addresses }).map(({ path }) => path),
    [
      ...vips.map((_, i) => `load_balancer.vips.${i}`),
      ...Object.keys(addresses).map((name) => `load_balancer.addresses.${name}`),
    ],
  )
})

test('takes addresses of both kinds, and DNS names of servers', () => {
  const addresses = { 'sn-1': '10.0.0.1', 'sn-2': 'fd00::2', 'sn-3': 'sn-3.site-a.example' }
  assert.deepEqual(checkLoadBalancer({ vips: ['10.1.0.10', '0.0.0.1', 'fd00::10'], addresses }), [])
})

test('haproxy.cfg, keepalived.conf and zone, whole', () => {
  golden('haproxy.cfg', haproxyConfig(front))
  golden('keepalived.conf', keepalivedConfig(front, network))
  golden('zone.txt', zoneRecords(front))
})

test('without virtual addresses HAProxy listens on all of its own, and the zone names the servers', () => {
  const bare = { ...front, vips: [] }
  assert.match(haproxyConfig(bare), /\n {4}bind :6443\n/)
  assert.equal(
    zoneRecords(bare),
    '; API of cluster site-a\nk3s.site-a.example. 60 IN A 127.0.0.1\nk3s.site-a.example. 60 IN AAAA ::1\n',
  )
})

/** Has a shell read a configuration with the real program. */
function accepts(command: string, text: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-config-'))
  try {
    writeFileSync(join(folder, 'config'), text, { mode: 0o644 })
    const { status, stdout, stderr } = spawnSync('sh', ['-ec', command], { cwd: folder, encoding: 'utf8' })
    assert.equal(status, 0, `${stdout}${stderr}`)
    assert.doesNotMatch(`${stdout}${stderr}`, /warning|unknown|invalid|ignoring/i)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('the real HAProxy takes its configuration without a warning', () => {
  if (!existsSync('/usr/sbin/haproxy')) return console.log('skipped: there is no haproxy here')
  accepts('/usr/sbin/haproxy -c -f config', haproxyConfig(front))
})

test('the real HAProxy starts with a server whose name does not resolve', () => {
  if (!existsSync('/usr/sbin/haproxy')) return console.log('skipped: there is no haproxy here')
  const lost = { ...front, backends: [...front.backends, { name: 'sn-3', address: 'sn-3.invalid' }] }
  // It warns of that server, which is right.
  accepts('/usr/sbin/haproxy -q -c -f config 2>said || { cat said; exit 1; }', haproxyConfig(lost))
})

test('the real keepalived takes its configuration without a warning', () => {
  if (!existsSync('/usr/sbin/keepalived') || process.getuid?.() !== 0)
    return console.log('skipped: keepalived is tried as root, where it is installed')
  // It looks for the interface: a network namespace has one by any name. 2.2.7 ends a test that went well by its own SIGTERM: what it says counts.
  const made = 'ip link add eth0 type veth peer name eth1 && ip link set eth0 up'
  const inside = `${made} && { setsid -w /usr/sbin/keepalived --config-test --use-file config || [ $? -eq 143 ]; }`
  accepts(`unshare --net sh -ec '${inside}'`, keepalivedConfig(front, network))
})
