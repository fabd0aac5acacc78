import { createHash } from 'node:crypto'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import { shells, template } from './box.ts'
import { Node } from './node.ts'
import { suiteUnder } from './under.ts'

const script = template('rollcall-node.sh')
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const rocky = (version: string) =>
  `NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="${version}"\n`

/** Switched on where there is a file `ufw`, which holds its complaint about an IPv6 rule. */
const ufw = `#!/bin/sh
echo "ufw $*" >>"$BOX/tools"
case $1 in
  status) if [ -e "$BOX/ufw" ]; then echo 'Status: active'; else echo 'Status: inactive'; fi ;;
  *) case $* in *::*) [ ! -s "$BOX/ufw" ] || { cat "$BOX/ufw" >&2 && exit 1; } ;; esac ;;
esac
`

/** Of a box whose default routes are these. */
const ip = (routes: string) => `#!/bin/sh
case "$*" in
  *addr*)
    echo '2: dummy0    inet 203.0.113.254/31 scope global dummy0'
    echo '3: eth1@if7    inet 192.0.2.7/24 brd 192.0.2.255 scope global eth1'
    ;;
  *-4*route*) printf '%s' '${routes}' ;;
esac
`

/** Docker or Podman that has no image yet. */
const engine = '#!/bin/sh\necho "$(basename "$0") $*" >>"$BOX/tools"\n[ "$1" = pull ]\n'

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'rollcall-node and the system it is on,', { timeout: 120_000 })
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
  const details = (step: string) => server.reports.filter((report) => report.step === step).map(({ detail }) => detail)
  const tools = () => (existsSync(node.path('tools')) ? node.read('tools').trim().split('\n') : [])

  test("another enrollment's data is removed before K3s starts, and the timeline says so; images and volumes stay", async () => {
    node.leave('k3s.join')
    node.document('server')
    node.write('data/rollcall', 'enr_old\n')
    const gone = [
      'data/server/db/etcd/name',
      'data/server/tls/server-ca.key',
      'data/agent/client-kubelet.crt',
      'data/agent/etc/k3s-agent-load-balancer.json',
      'etc/rancher/k3s/config.yaml.d/10-old.yaml',
      'etc/rancher/k3s/config.yaml.d/20-token.yaml',
    ]
    const kept = [
      'data/agent/images/k3s.tar.zst',
      'data/agent/containerd/blob',
      'data/storage/volume',
      'etc/rancher/k3s/config.yaml.d/30-labels.yaml',
    ]
    for (const file of [...gone, ...kept]) node.write(file, 'x')
    node.write('etc/rancher/k3s/config.yaml.d/10-old.yaml', 'debug: true\n"datastore-endpoint": "mysql://old"\n')
    node.write('etc/rancher/k3s/config.yaml.d/20-token.yaml', 'token-file: /old\n')
    node.write('etc/rancher/k3s/config.yaml.d/30-labels.yaml', 'node-label: [a=b]\n')
    node.write('usr/bin/k3s-killall.sh', '#!/bin/sh\necho killed >>"$BOX/tools"\n[ -e "$BOX/data/server/db" ]\n', 0o755)
    server.plan('/v1/nodes', ...Array.from({ length: 20 }, () => ({ status: 503, body: 'busy' })))
    await passes()
    for (const file of gone) assert.not(existsSync(node.path(file)), file)
    for (const file of kept) assert.ok(existsSync(node.path(file)), file)
    assert.is(node.read('data/rollcall'), 'enr_test\n')
    assert.match(
      details('k3s.join').find((detail) => detail?.startsWith('removed')) ?? '',
      'removed what enr_old left here: server agent 10-old.yaml 20-token.yaml',
    )
    const said = node.read('systemctl')
    for (const unit of ['k3s', 'k3s-agent', 'rollcall-node']) {
      const stopped = [`disable ${unit}\n`, `stop ${unit}\n`].map((line) => said.indexOf(line))
      for (const at of stopped) assert.ok(at !== -1 && at < said.indexOf('restart k3s\n'))
    }
    assert.ok(tools().includes('killed'))
  })

  once('data that nobody knows is removed as well', async () => {
    node.leave('k3s.join')
    node.document('agent')
    node.delete('data/rollcall')
    node.write('data/agent/client-kubelet.crt', 'x')
    await passes()
    assert.not(existsSync(node.path('data/agent/client-kubelet.crt')))
    assert.match(details('k3s.join').join(), 'an installation without Rollcall')
  })

  once('a new box has nothing to remove, and says nothing', async () => {
    node.leave('k3s.join')
    node.document('agent')
    node.delete('data')
    await passes()
    assert.not(details('k3s.join').join().includes('removed'))
    assert.is(node.read('data/rollcall'), 'enr_test\n')
  })

  once('the data of this enrollment stays, however often it is installed', async () => {
    node.leave('k3s.join')
    node.document('server')
    node.write('data/server/db/state.db', 'x')
    await passes()
    node.delete('state/steps/enr_test/k3s.join')
    node.delete('state/steps/enr_test/k3s.ready')
    node.document('server')
    await passes()
    assert.is(node.read('data/server/db/state.db'), 'x')
  })

  test('images come with their hashes, for this machine alone', async () => {
    node.leave('k3s.download')
    const [images, elsewhere] = ['images of this', 'images of another']
    const arch = process.arch === 'x64' ? 'amd64' : 'arm64'
    server.downloads.set('/assets/k3s-airgap-images.tar.zst', Buffer.from(images))
    server.downloads.set('/assets/k3s-airgap-images-other.tar.zst', Buffer.from(elsewhere))
    const given = [
      `${arch}=${sha256(images)}=${server.url}/assets/k3s-airgap-images.tar.zst`,
      `arm=${sha256(elsewhere)}=${server.url}/assets/k3s-airgap-images-other.tar.zst`,
    ]
    node.document('agent', { ROLLCALL_IMAGES: `${given.join(' ')} ` })
    await passes()
    assert.equal(readdirSync(node.path('data/agent/images')), ['k3s-airgap-images.tar.zst'])
    assert.is(node.read('data/agent/images/k3s-airgap-images.tar.zst'), images)
  })

  once('an image whose hash is another is refused', async () => {
    node.leave('k3s.download')
    server.downloads.set('/assets/images.tar', Buffer.from('other'))
    const arch = process.arch === 'x64' ? 'amd64' : 'arm64'
    node.document('agent', { ROLLCALL_IMAGES: `${arch}=${'0'.repeat(64)}=${server.url}/assets/images.tar` })
    assert.is((await install()).code, 1)
    assert.match(details('k3s.download').join(), 'its SHA-256 is not the one on record')
  })

  for (const [version, release] of [
    ['8.10', 'el8'],
    ['9.6', 'el9'],
    ['10.1', 'el9'],
  ] as const) {
    once(`Rocky ${version}: K3s' SELinux policy of ${release} from the mirror`, async () => {
      node.leave('os.update', 'k3s.download', 'k3s.install')
      server.downloads.set('/assets/policy.rpm', Buffer.from(release))
      node.write('etc/os-release', rocky(version))
      node.document('server', {
        ROLLCALL_OS: 'rocky',
        ROLLCALL_SELINUX_URL_el8: `${server.url}/assets/nothing`,
        ROLLCALL_SELINUX_URL_el9: `${server.url}/assets/nothing`,
        [`ROLLCALL_SELINUX_URL_${release}`]: `${server.url}/assets/policy.rpm`,
        [`ROLLCALL_SELINUX_SHA256_${release}`]: sha256(release),
      })
      await passes()
      assert.ok(tools().includes(`dnf -y install ${node.path('state/k3s-selinux.rpm')}`))
      assert.match(node.read('installer.env'), 'INSTALL_K3S_SKIP_SELINUX_RPM=true')
      assert.is(tools().includes('dnf -y install  kernel-modules-extra'.replace('  ', ' ')), version === '10.1')
    })
  }

  once(
    'where K3s comes from a mirror without one, nobody looks for it elsewhere, and the timeline says so',
    async () => {
      node.leave('k3s.download', 'k3s.install')
      node.write('etc/os-release', rocky('9.6'))
      node.document('server', { ROLLCALL_OS: 'rocky', INSTALL_K3S_SKIP_SELINUX_RPM: 'true' })
      await passes()
      assert.match(node.read('installer.env'), 'INSTALL_K3S_SKIP_SELINUX_RPM=true')
      assert.ok(details('k3s.download').includes('the mirror has no SELinux policy for el9'))
    },
  )

  once('without a mirror the install script looks for it itself', async () => {
    node.leave('k3s.download', 'k3s.install')
    node.write('etc/os-release', rocky('9.6'))
    node.document('server', { ROLLCALL_OS: 'rocky', INSTALL_K3S_SELINUX_WARN: 'true' })
    await passes()
    assert.not(node.read('installer.env').includes('SKIP_SELINUX_RPM'))
  })

  test('opens firewalld to nodes and pods where it runs', async () => {
    node.leave('k3s.install')
    const firewall = { ROLLCALL_PORTS: '6443/tcp 8472/udp', ROLLCALL_NETWORKS: '10.42.0.0/16 10.43.0.0/16' }
    node.document('server', firewall)
    await passes()
    assert.not(tools().some((line) => line.startsWith('firewall-cmd')))
    server.enrollment = 'enr_two'
    node.leave('k3s.install')
    node.document('server', firewall)
    node.write('firewalld', '')
    await passes()
    assert.equal(
      tools().filter((line) => line.startsWith('firewall-cmd')),
      [
        'firewall-cmd -q --permanent --add-port=6443/tcp --add-port=8472/udp',
        'firewall-cmd -q --permanent --zone=trusted --add-source=10.42.0.0/16 --add-source=10.43.0.0/16',
        'firewall-cmd -q --reload',
      ],
    )
  })

  test('opens ufw likewise where it is switched on, and tells why it could not', async () => {
    node.leave('k3s.install')
    const firewall = { ROLLCALL_PORTS: '6443/tcp 2379-2380/tcp 8472/udp', ROLLCALL_NETWORKS: '10.42.0.0/16 fd00::/64' }
    const rules = ['6443/tcp', '2379:2380/tcp', '8472/udp', 'from 10.42.0.0/16', 'from fd00::/64']
    const called = () => tools().filter((line) => line.startsWith('ufw'))
    node.command('ufw', ufw)
    node.document('server', firewall)
    await passes()
    assert.equal(called(), ['ufw status'])
    server.enrollment = 'enr_two'
    node.leave('k3s.install')
    node.document('server', firewall)
    node.write('ufw', 'Bad source address\n')
    assert.is((await install()).code, 1)
    assert.is(details('k3s.install').at(-1), 'ufw failed (1): Bad source address')
    node.delete('tools')
    node.write('ufw', '')
    await passes()
    assert.equal(called(), ['ufw status', ...rules.map((rule) => `ufw allow ${rule}`)])
  })

  once('turns nm-cloud-setup off and restarts, since its routes outlive it', async () => {
    node.leave('os.update')
    node.document('server')
    node.write('nm-cloud-setup', '')
    assert.is((await install()).code, 1)
    assert.ok(existsSync(node.path('rebooted')))
    assert.match(node.read('systemctl'), 'disable nm-cloud-setup.timer\n')
    assert.match(node.read('systemctl'), 'disable nm-cloud-setup.service\n')
    node.write('boot-id', 'boot-2\n')
    node.delete('run')
    await passes()
  })

  once('sets what a kubelet that protects kernel defaults wants to find', async () => {
    node.leave('k3s.install')
    node.document('server')
    node.write('etc/rancher/k3s/config.yaml', 'node-name: "sn-0001"\nprotect-kernel-defaults: "true"\n', 0o600)
    await passes()
    const file = 'etc/sysctl.d/90-rollcall-k3s.conf'
    assert.is(node.read(file), 'vm.panic_on_oom=0\nvm.overcommit_memory=1\nkernel.panic=10\nkernel.panic_on_oops=1\n')
    assert.ok(tools().includes(`sysctl -p ${node.path(file)}`))
  })

  test('without a default route it makes one that leads nowhere, and tells K3s its address', async () => {
    node.leave('k3s.join')
    node.document('agent')
    node.command('ip', ip(''))
    await passes()
    assert.is(
      node.read('etc/rancher/k3s/config.yaml.d/51-rollcall.yaml'),
      'node-ip: "192.0.2.7"\nflannel-iface: "eth1"\n',
    )
    const unit = 'etc/systemd/system/k3s-agent.service.d/20-rollcall.conf'
    assert.match(node.read(unit), /^\[Service\]\nExecStartPre=-\/bin\/sh -c 'ip .*'\n$/)
    assert.is(statSync(node.path(unit)).mode & 0o777, 0o600)
    assert.match(details('k3s.join').join(), 'there is no default route')
  })

  once('the route that leads nowhere is none: with it, K3s is told the address that the box has here', async () => {
    node.leave('k3s.join')
    node.document('agent')
    node.write('etc/rancher/k3s/config.yaml.d/51-rollcall.yaml', 'node-ip: "198.51.100.7"\nflannel-iface: "eth0"\n')
    node.command('ip', ip('default via 203.0.113.255 dev dummy0 metric 65535 '))
    await passes()
    assert.is(
      node.read('etc/rancher/k3s/config.yaml.d/51-rollcall.yaml'),
      'node-ip: "192.0.2.7"\nflannel-iface: "eth1"\n',
    )
    assert.match(details('k3s.join').join(), /there is no default route: .* address is 192.0.2.7 on eth1/)
  })

  once('where a box has a default route again, what it needed without one is gone', async () => {
    const made = [
      'etc/rancher/k3s/config.yaml.d/51-rollcall.yaml',
      'etc/systemd/system/k3s-agent.service.d/20-rollcall.conf',
    ]
    const routes = ['default via 203.0.113.255 dev dummy0 metric 65535 ', 'default via 192.0.2.1 dev eth1 proto dhcp ']
    node.leave('k3s.join')
    node.document('agent')
    for (const file of made) node.write(file, 'of another site')
    node.command('ip', ip(routes.join('\n')))
    await passes()
    for (const file of made) assert.not(existsSync(node.path(file)), file)
    assert.not(details('k3s.join').join().includes('default route'))
  })

  once(
    "K3s in a container that stands alone has a network of its own: the host's address is not told to it",
    async () => {
      const made = 'etc/rancher/k3s/config.yaml.d/51-rollcall.yaml'
      const contained = { ROLLCALL_SCRIPT_URL: '', ROLLCALL_CONTAINER: 'docker.io/rancher/k3s:v1.36.3-k3s1' }
      node.command('ip', ip(''))
      for (const [enrollment, alone, more] of [
        [
          'enr_joins',
          false,
          { ...contained, ROLLCALL_DATASTORE: 'sqlite', ROLLCALL_API: 'https://k3s.example.net:6443' },
        ],
        ['enr_alone', true, { ...contained, ROLLCALL_DATASTORE: 'sqlite', ROLLCALL_API: '' }],
        ['enr_shares', false, { ...contained, ROLLCALL_DATASTORE: 'postgres', ROLLCALL_API: '' }],
        ['enr_host', false, { ROLLCALL_DATASTORE: 'sqlite', ROLLCALL_API: '' }],
      ] as const) {
        server.enrollment = enrollment
        node.leave('k3s.join')
        node.document('server', more)
        await passes()
        assert.is(existsSync(node.path(made)), !alone, enrollment)
      }
    },
  )

  once('it is told once an enrollment that there is no default route', async () => {
    node.leave('k3s.join')
    node.document('agent')
    node.command('ip', ip(''))
    node.write('state/steps/enr_test/started', '')
    await passes()
    assert.not(details('k3s.join').join().includes('default route'))
    assert.ok(existsSync(node.path('etc/rancher/k3s/config.yaml.d/51-rollcall.yaml')))
  })

  once('K3s in a container: pulls its image, and starts the unit that Quadlet made without enabling it', async () => {
    node.leave('k3s.download', 'k3s.join')
    node.document('server', {
      ROLLCALL_OS: 'fcos',
      ROLLCALL_SCRIPT_URL: '',
      ROLLCALL_CONTAINER: 'docker.io/rancher/k3s:v1.36.3-k3s1',
    })
    node.write('etc/containers/systemd/k3s.container', '')
    node.command('podman', engine)
    await passes()
    assert.ok(tools().includes('podman pull -q docker.io/rancher/k3s:v1.36.3-k3s1'))
    assert.not(node.read('systemctl').includes('enable k3s\n'))
    assert.ok(existsSync(node.path('state/enabled')))
  })

  once('K3s in a container: a build of the engine that the profile names is not joined by another one', async () => {
    node.leave('os.update')
    node.document('agent', {
      ROLLCALL_PACKAGES: 'rollcall-docker-ce',
      ROLLCALL_ENGINE: 'rollcall-docker',
      ROLLCALL_ENGINE_PACKAGE: 'docker.io',
    })
    await passes()
    assert.ok(tools().some((line) => line.endsWith(' install rollcall-docker-ce') && line.startsWith('dnf ')))
  })

  once(
    'K3s in a container by a unit of its own: the engine is installed, pulls the image, and the unit is enabled',
    async () => {
      for (const [os, name, install] of [
        [
          'debian',
          'docker',
          'apt-get -y -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confold install docker.io',
        ],
        ['rocky', 'podman', 'dnf -y install podman'],
      ] as const) {
        server.enrollment = `enr_${os}`
        node.write('tools', '')
        node.write('systemctl', '')
        node.leave('os.update', 'k3s.download', 'k3s.install', 'k3s.join')
        // As the test's own machine may have it: the engine is there only once it was installed.
        const wanted = `rollcall-${name}`
        for (const packager of ['apt-get', 'dnf'])
          node.command(
            packager,
            `#!/bin/sh\necho "${packager} $*" >>"$BOX/tools"\ncase $* in *install*) cp "$BOX/engine" "$BOX/bin/${wanted}" ;; esac\n`,
          )
        if (os === 'debian') rmSync(node.path('bin/dnf'))
        node.write('engine', engine, 0o755)
        node.document('agent', {
          ROLLCALL_OS: os,
          ROLLCALL_SCRIPT_URL: '',
          ROLLCALL_CONTAINER: 'docker.io/rancher/k3s:v1.36.3-k3s1',
          ROLLCALL_ENGINE: wanted,
          ROLLCALL_ENGINE_PACKAGE: os === 'debian' ? 'docker.io' : 'podman',
        })
        await passes()
        assert.ok(tools().includes(install), tools().join('\n'))
        assert.ok(tools().includes(`${wanted} pull -q docker.io/rancher/k3s:v1.36.3-k3s1`))
        assert.not(tools().some((line) => line.endsWith('-cli')))
        assert.match(node.read('systemctl'), 'enable k3s-agent\n')
      }
    },
  )

  once(
    'K3s in a container: an engine that comes without its client gets it, or the timeline says what is missing',
    async () => {
      const engineOf = (packager: string, then: string) =>
        node.command(
          packager,
          `#!/bin/sh\necho "${packager} $*" >>"$BOX/tools"\ncase $* in *'install rollcall-docker-cli') ${then} ;; esac\n`,
        )
      rmSync(node.path('bin/dnf'))
      node.write('engine', engine, 0o755)
      node.leave('os.update')
      node.document('agent', {
        ROLLCALL_SCRIPT_URL: '',
        ROLLCALL_CONTAINER: 'docker.io/rancher/k3s:v1.36.3-k3s1',
        ROLLCALL_ENGINE: 'rollcall-docker',
        ROLLCALL_ENGINE_PACKAGE: 'docker.io',
      })
      engineOf('apt-get', 'echo "E: Unable to locate package rollcall-docker-cli" >&2; exit 100')
      assert.is((await install()).code, 1)
      assert.match(details('os.update').join(), 'apt-get failed (100): E: Unable to locate package rollcall-docker-cli')
      engineOf('apt-get', 'cp "$BOX/engine" "$BOX/bin/rollcall-docker"')
      await passes()
      const installed = tools().filter((line) => line.includes(' install '))
      assert.equal(
        installed.slice(-2).map((line) => line.split(' ').at(-1)),
        ['docker.io', 'rollcall-docker-cli'],
      )
    },
  )
}
