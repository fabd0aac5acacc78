import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { command } from './command.ts'

/** The lab's own address, on a bridge in the lab's own network namespace: nothing of it exists on the machine. */
export const labAddress = '10.80.0.1'
const boxes = 500

/** Where box `n` (1…500) is: its MAC is fixed, and so is the address that DHCP gives it. */
export function boxAddress(n: number): { mac: string; ip: string } {
  const [high, low] = [(n >> 7) + 1, (n & 127) + 1]
  const hex = (byte: number) => byte.toString(16).padStart(2, '0')
  return { mac: `52:54:00:80:${hex(high)}:${hex(low)}`, ip: `10.80.${high}.${low}` }
}

/** Makes the bridge and starts DHCP on it. */
export async function startNetwork(dir: string): Promise<ChildProcess> {
  await mkdir('/run/netns', { recursive: true })
  await command('mount', ['-t', 'tmpfs', 'tmpfs', '/run/netns'])
  await command('ip', ['link', 'set', 'lo', 'up'])
  // Without an address of its own, a bridge takes its lowest port's, and every box loses the lab when that one is unplugged.
  await command('ip', ['link', 'add', 'lab0', 'address', '52:54:00:80:00:01', 'type', 'bridge'])
  await command('ip', ['addr', 'add', `${labAddress}/16`, 'dev', 'lab0'])
  await command('ip', ['link', 'set', 'lab0', 'up'])
  const hosts = Array.from({ length: boxes }, (_, i) => boxAddress(i + 1)).map(({ mac, ip }) => `${mac},${ip}`)
  await writeFile(join(dir, 'dhcp-hosts'), `${hosts.join('\n')}\n`)
  const args = ['--keep-in-foreground', '--conf-file=/dev/null', '--no-hosts', '--no-resolv', '--port=0', '--no-ping']
  args.push(
    '--bind-interfaces',
    '--interface=lab0',
    '--dhcp-range=10.80.0.0,static,255.255.0.0,1h',
    '--dhcp-authoritative',
  )
  args.push(`--dhcp-hostsfile=${join(dir, 'dhcp-hosts')}`, `--dhcp-leasefile=${join(dir, 'leases')}`, '--user=root')
  return spawn('dnsmasq', args, { stdio: 'ignore' })
}

/** Plugs box `n` in: a fresh network namespace with one interface, `host0`. Returns the namespace's name. */
export async function plugIn(n: number): Promise<string> {
  const name = `box${n}`
  await command('ip', ['netns', 'add', name])
  await command('ip', ['-n', name, 'link', 'set', 'lo', 'up'])
  const peer = ['type', 'veth', 'peer', 'name', `port${n}`, 'netns', String(process.pid)]
  await command('ip', ['-n', name, 'link', 'add', 'host0', 'address', boxAddress(n).mac, ...peer])
  await command('ip', ['link', 'set', `port${n}`, 'master', 'lab0', 'up'])
  return name
}

export async function plugOut(n: number): Promise<void> {
  // The kernel takes a namespace's interfaces away some time later; the next boot wants the name at once.
  await command('ip', ['link', 'del', `port${n}`])
  await command('ip', ['netns', 'del', `box${n}`])
}
