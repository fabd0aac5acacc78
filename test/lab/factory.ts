import { mkdir, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { command } from './command.ts'

export const suites = ['bookworm', 'trixie'] as const
/** bookworm: cloud-init 22.4.2; trixie: cloud-init 25.1.4 */
export type Suite = (typeof suites)[number]

// Nothing here is Rollcall's: it is what makes a Debian root bootable in a namespace, fast and with its console readable.
const files: Record<string, string> = {
  'etc/machine-id': '',
  'etc/hostname': 'factory\n',
  'etc/systemd/network/50-host0.network': '[Match]\nName=host0\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n',
  'etc/systemd/journald.conf.d/lab.conf': '[Journal]\nForwardToConsole=yes\nMaxLevelConsole=info\nStorage=volatile\n',
  'etc/systemd/system.conf.d/lab.conf': '[Manager]\nDefaultTimeoutStopSec=5s\n',
  'etc/cloud/cloud.cfg.d/90-lab.cfg': 'locale: false\nssh_genkeytypes: [ed25519]\nnetwork: {config: disabled}\n',
}

const masked = [
  'systemd-firstboot.service',
  'systemd-udevd.service',
  'systemd-udev-trigger.service',
  'systemd-udevd-kernel.socket',
  'systemd-udevd-control.socket',
  'systemd-resolved.service',
  'systemd-logind.service',
  'getty.target',
  'console-getty.service',
  'e2scrub_reap.service',
  'apt-daily.timer',
  'dpkg-db-backup.timer',
  'fstrim.timer',
]

/** Turns a plain Debian root into one that a factory could ship for the lab's network. */
export async function prepareFactoryRoot(root: string): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(root, path, '..'), { recursive: true })
    await writeFile(join(root, path), text)
  }
  // Newer than any file: skips ldconfig, hwdb and catalog jobs.
  for (const path of ['etc/.updated', 'var/.updated']) {
    await writeFile(join(root, path), '')
    await utimes(join(root, path), 4_070_908_800, 4_070_908_800)
  }
  const systemctl = (...args: string[]) => command('systemctl', [`--root=${root}`, ...args])
  await systemctl('enable', 'systemd-networkd.service', 'systemd-networkd-wait-online.service')
  await systemctl('mask', ...masked)
}
