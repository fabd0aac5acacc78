import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { type Step, steps } from '../../src/roll/report.ts'
import type { DeviceServer } from '../fakes/device-server.ts'
import { Box, template } from './box.ts'

/** What install.sh of K3s would do, as far as rollcall-node can tell: the unit is there, and what it was called with is written down. */
export const installer = `#!/bin/sh
env | grep ^INSTALL_ | sort >"$BOX/installer.env"
echo "$#" >"$BOX/installer.args"
echo x >>"$BOX/installer.runs"
[ "$INSTALL_K3S_SKIP_DOWNLOAD" = binary ] && [ -x "$INSTALL_K3S_BIN_DIR/k3s" ]
`

/**
 * Answers as a node that is ready when it is asked for the second time, and as kubectl of a cluster: its Nodes and pods are files, what it is told is
 * kept in `told`, and it refuses what `refuse` says.
 */
export const k3s = `#!/bin/sh
echo "$*" >>"$BOX/k3s.args"
if [ -e "$BOX/down" ]; then
  echo 'The connection to the server 127.0.0.1:6443 was refused' >&2
  exit 1
fi
case " $* " in
  *' get node '*)
    [ -e "$BOX/asked" ] && printf True || printf False
    : >"$BOX/asked"
    ;;
  *' get nodes '*) cat "$BOX/nodes" ;;
  *' get pods '*) cat "$BOX/pods" ;;
  *' get --raw /readyz '*) echo ok ;;
  *' label node '*) ;;
  *' apply '* | *' delete '*)
    said=$(cat)
    if [ -e "$BOX/refuse" ] && echo "$said" | grep -qf "$BOX/refuse"; then
      echo "error: it holds $(cat "$BOX/refuse")" >&2
      exit 1
    fi
    # shellcheck disable=SC2048,SC2086 # words
    for word in $*; do case $word in apply | delete) echo "## $word" ;; esac; done >>"$BOX/told"
    echo "$said" >>"$BOX/told"
    ;;
  *) exit 1 ;;
esac
`

/** As kubectl's template writes a Node. */
export const nodeLine = (name: string, ready: 'true' | 'false' | 'null' = 'true', version = '"v1.36.3+k3s1"') =>
  `{"name":"${name}","ready":${ready},"version":${version}}\n`

const systemctl = `#!/bin/sh
echo "$*" >>"$BOX/systemctl"
case "$*" in
  *is-active*firewalld) [ -e "$BOX/firewalld" ] ;;
  *is-active*) [ -e "$BOX/active" ] ;;
  *is-failed*) exit 1 ;;
  *is-enabled*nm-cloud-setup.*) [ -e "$BOX/nm-cloud-setup" ] ;;
  *is-enabled*) exit 1 ;;
  *stop*k3s*) rm -f "$BOX/active" ;;
  *start\\ k3s*) cp "$BOX/etc/rancher/k3s/token" "$BOX/active" ;;
  reboot) : >"$BOX/rebooted" ;;
esac
`

/** Stands for the CA that K3s made: what is reported is the hash of these bytes. */
export const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'

let deviceKey: string | undefined

const quote = (value: string) => `'${value.replaceAll("'", `'\\''`)}'`
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** A machine on which cloud-init has written a document. */
export class Node extends Box {
  readonly server: DeviceServer

  constructor(server: DeviceServer) {
    super(server)
    this.server = server
    this.env.ROLLCALL_ETC = this.path('etc')
    this.env.ROLLCALL_CLIENT = this.path('bin/rollcall-client')
    for (const name of ['ROLLCALL_URL', 'ROLLCALL_PIN']) delete this.env[name]
    this.command('systemctl', systemctl)
    // What must not touch the machine that runs the tests.
    this.env.ROLLCALL_BOOT = this.path('boot-id')
    this.env.ROLLCALL_DATA = this.path('data')
    this.write('data/server/tls/server-ca.crt', certificate)
    this.write('data/rollcall', `${server.enrollment}\n`)
    this.write('nodes', nodeLine('sn-0001'))
    this.write('pods', '')
    this.command('ip', '#!/bin/sh\necho "default via 192.0.2.1 dev eth0"\n')
    this.command('ufw', '#!/bin/sh\necho "Status: inactive"\n')
    this.write('boot-id', 'boot-1\n')
    for (const name of [
      'timedatectl',
      'firewall-cmd',
      'sysctl',
      'dnf',
      'dpkg',
      'apt-get',
      'needs-restarting',
      'rpm',
      'restorecon',
    ])
      this.command(name, `#!/bin/sh\necho "${name} $*" >>"$BOX/tools"\nexit 0\n`)
    server.downloads.set('/assets/install.sh', Buffer.from(installer))
    server.downloads.set('/assets/k3s', Buffer.from(k3s))
  }

  /** Writes what a document for `role` brings. */
  document(role: 'server' | 'agent', more: Record<string, string> = {}): void {
    const { url, pin, reportUrl, enrollment, ticket } = this.server
    const install: Record<string, string> = {
      ROLLCALL_ROLE: role,
      ROLLCALL_OS: 'debian',
      INSTALL_K3S_VERSION: 'v1.36.3+k3s1',
      INSTALL_K3S_EXEC: role,
      INSTALL_K3S_BIN_DIR: this.path('usr/bin'),
      ROLLCALL_SCRIPT_URL: `${url}/assets/install.sh`,
      ROLLCALL_SCRIPT_SHA256: sha256(installer),
      ROLLCALL_PACKAGES: '',
      ROLLCALL_UPDATE: '',
      ROLLCALL_ENROLLMENT: enrollment,
      ROLLCALL_SERIAL: 'SN-0001',
      ROLLCALL_AUDIENCE: url,
    }
    for (const arch of ['amd64', 'arm64', 'arm']) {
      install[`ROLLCALL_BINARY_URL_${arch}`] = `${url}/assets/k3s`
      install[`ROLLCALL_BINARY_SHA256_${arch}`] = sha256(k3s)
    }
    const secrets = { ROLLCALL_JOIN: ticket, ROLLCALL_NODE: this.server.credential }
    const node = { ROLLCALL_URL: url, ROLLCALL_PIN: pin, ROLLCALL_REPORT: reportUrl, ...(role === 'server' && secrets) }
    this.variables('etc/rollcall/install.env', { ...install, ...more })
    this.variables('etc/rollcall/node.env', node)
    this.write('etc/rancher/k3s/config.yaml', 'node-name: "sn-0001"\n', 0o600)
    if (role === 'agent') this.write('etc/rancher/k3s/token', 'K10::abcdef.0123456789abcdef\n', 0o600)
  }

  /** As if it had taken all steps but these and the last one, and been switched off then: the installer takes what is left. */
  leave(...left: readonly Step[]): void {
    const taken = steps.filter((step) => step !== 'k3s.ready' && !left.includes(step))
    for (const step of taken) this.write(`state/steps/${this.server.enrollment}/${step}`, `${step}\n`)
    if (taken.includes('clock')) this.write('run/clock', '')
    if (!taken.includes('k3s.download')) return
    this.write('usr/bin/k3s', k3s, 0o755)
    this.write('state/install.sh', installer, 0o700)
  }

  /** Has a line of shell run before each command that the scripts call. */
  wrap(line: string): void {
    for (const name of [
      'openssl',
      'mv',
      'cat',
      'curl',
      'sed',
      'head',
      'tail',
      'tr',
      'mkdir',
      'chmod',
      'grep',
      'rm',
      'cut',
      'od',
    ]) {
      const real = execFileSync('sh', ['-c', `PATH=/usr/bin:/bin command -v ${name}`], { encoding: 'utf8' }).trim()
      this.command(name, `#!/bin/sh\n${line}exec ${real} "$@"\n`)
    }
  }

  variables(file: string, values: Record<string, string>): void {
    this.write(
      file,
      Object.entries(values)
        .map(([name, value]) => `${name}=${quote(value)}\n`)
        .join(''),
      0o600,
    )
  }

  /** The key with which this machine claimed; made once, by the client itself. */
  async key(shell: readonly string[]): Promise<void> {
    if (!deviceKey) {
      const { code, stderr } = await this.run(shell, template('client.sh'), 'identity')
      if (code !== 0) throw new Error(stderr)
      deviceKey = this.read('state/device.key')
    }
    this.write('state/device.key', deviceKey, 0o600)
  }
}
