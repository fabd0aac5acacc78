import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { type Front, haproxyConfig, keepalivedConfig } from '../../src/k3s/load-balancer.ts'
import { suite } from '../suite.ts'

const test = suite('HAProxy and keepalived, as they are handed out, together', { timeout: 60_000 })

const vip = '10.1.0.10'
const front: Front = {
  cluster: 'site-a',
  host: 'k3s.site-a.example',
  port: 6443,
  vips: [vip, 'fd00::10'],
  backends: [
    { name: 'sn-1', address: '127.0.0.1' },
    { name: 'sn-2', address: 'sn-2.invalid' },
  ],
}

const missing = [
  '/usr/sbin/haproxy',
  '/usr/sbin/keepalived',
  '/usr/bin/pgrep',
  '/usr/bin/curl',
  '/usr/bin/openssl',
].filter((program) => !existsSync(program))

/** A shell in namespaces of its own: networks, addresses and processes of this machine are neither seen nor touched. */
class Room {
  readonly folder = mkdtempSync(join(tmpdir(), 'rollcall-front-'))
  readonly #shell: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor() {
    const args = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh']
    this.#shell = spawn('unshare', args, { cwd: this.folder, stdio: ['pipe', 'pipe', 'inherit'] })
    this.#lines = createInterface({ input: this.#shell.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]()
  }

  /** What a command prints. @throws where it fails */
  async run(command: string): Promise<string> {
    this.#shell.stdin?.write(`( ${command}\n) 2>&1 </dev/null; printf '\\nended %s\\n' "$?"\n`)
    const said: string[] = []
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error('the shell is gone')
      const code = /^ended (\d+)$/.exec(value)?.[1]
      if (code === '0') return said.join('\n').trim()
      if (code !== undefined) throw new Error(`${command}: ${code}\n${said.join('\n')}`)
      said.push(value)
    }
  }

  /** Starts a program that stays; what it says goes to `<name>.log`. */
  async start(name: string, command: string): Promise<void> {
    await this.run(`${command} >${name}.log 2>&1 &`)
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text, { mode: 0o644 })
  }

  /** Until a command succeeds, with what it prints. @throws after 20 s, with what the programs said */
  async until(command: string): Promise<string> {
    for (let tries = 0; tries < 80; tries++) {
      const said = await this.run(command).catch(() => undefined)
      if (said !== undefined) return said
      await new Promise((done) => setTimeout(done, 250))
    }
    throw new Error(`not within 20 s: ${command}\n${await this.run('tail -n 20 *.log; ip addr')}`)
  }

  close(): void {
    this.#shell.kill('SIGKILL')
    rmSync(this.folder, { recursive: true })
  }
}

/** Answers as K3s does to a check: `pong`, over TLS, at /ping. */
async function startServer(room: Room): Promise<void> {
  room.write('ping', 'HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\npong')
  const self = '-subj /CN=k3s -days 1 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
  await room.run(`openssl req -x509 ${self} -keyout key.pem -out cert.pem`)
  await room.start('server', 'openssl s_server -accept 127.0.0.1:6443 -cert cert.pem -key key.pem -HTTP')
}

test('a virtual address comes up where HAProxy runs, leads to a server, and goes when HAProxy does', async () => {
  if (missing.length > 0) return console.log(`skipped: no ${missing.join(', ')} here`)
  if (process.getuid?.() !== 0) return console.log('skipped: only root can try HAProxy and keepalived together')
  const room = new Room()
  try {
    await room.run('ip link set lo up && ip link add eth0 type veth peer name eth1 && ip link set eth1 up')
    await room.run('ip link set eth0 up && ip addr add 10.1.0.2/24 dev eth0')
    await startServer(room)
    // 20,000 connections want more open files than a test may have as a rule.
    room.write('haproxy.cfg', haproxyConfig(front).replace('maxconn 20000', 'maxconn 100'))
    room.write('keepalived.conf', keepalivedConfig(front, { link: 'eth0', routerId: 51 }))

    await room.start('haproxy', '/usr/sbin/haproxy -f haproxy.cfg')
    await room.until('ss -Hltn | grep -F 10.1.0.10:6443')
    assert.doesNotMatch(
      await room.run('ip addr'),
      /10\.1\.0\.10\/|fd00::10\//,
      'HAProxy stands by before the address is here',
    )
    assert.equal(await room.run('ps -o user= -C haproxy'), 'haproxy')

    const pids = '--pid keepalived.pid --vrrp_pid vrrp.pid'
    await room.start('keepalived', `/usr/sbin/keepalived --dont-fork --log-console --use-file keepalived.conf ${pids}`)
    await room.until('ip addr show dev eth0 | grep -F 10.1.0.10/ && ip addr show dev eth0 | grep -F fd00::10/')
    for (const address of [vip, '[fd00::10]'])
      assert.equal(await room.until(`curl -sSk --max-time 2 https://${address}:6443/ping`), 'pong')

    await room.run('pkill -x haproxy')
    await room.until('! ip addr show dev eth0 | grep -E "10.1.0.10/|fd00::10/"')
  } finally {
    room.close()
  }
})
