import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../src/postgres/port.ts'
import { makeCa, newKey, type Pair } from '../src/tls/certificates.ts'

/** An etcd of a test's own, with TLS and client certificates. */
export type Etcd = {
  url: string
  ca: string
  /** A client that it lets in */
  client: Pair
  /** Writes one key. */
  put: (key: string, value: string) => Promise<void>
  stop: () => Promise<void>
}

export const hasEtcd = existsSync('/usr/bin/etcd')
if (!hasEtcd) console.log('skipped: etcd is not installed (Debian: etcd-server)')

// One certificate for both ends; our own authority makes none for clients.
const extensions = (names: readonly string[]) =>
  `subjectAltName=DNS:localhost,${['127.0.0.1', ...names].map((name) => `IP:${name}`).join()}\nextendedKeyUsage=serverAuth,clientAuth\n`

/** @param names further addresses that its certificate names */
export async function throwawayEtcd(names: readonly string[] = []): Promise<Etcd> {
  const root = mkdtempSync(join(tmpdir(), 'rollcall-etcd-'))
  const ca = await makeCa(Math.floor(Date.now() / 1000))
  const key = newKey()
  const files = { 'ca.pem': ca.certificate, 'ca.key': ca.key, 'key.pem': key, ext: extensions(names) }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text, { mode: 0o600 })
  const openssl = (...args: string[]) =>
    execFileSync('openssl', args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] })
  openssl('req', '-new', '-key', 'key.pem', '-subj', '/CN=etcd', '-out', 'csr.pem')
  const signing = [
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'ext',
    '-out',
    'cert.pem',
  ]
  openssl('x509', '-req', '-in', 'csr.pem', ...signing)
  const certificate = readFileSync(join(root, 'cert.pem'), 'utf8')
  const [client, peer] = [`https://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`]
  const tls = [
    '--client-cert-auth',
    `--trusted-ca-file=${root}/ca.pem`,
    `--cert-file=${root}/cert.pem`,
    `--key-file=${root}/key.pem`,
  ]
  const urls = [`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`, `--listen-peer-urls=${peer}`]
  const member = [
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    `--data-dir=${root}/data`,
  ]
  const child = spawn('/usr/bin/etcd', [...tls, ...urls, ...member, '--unsafe-no-fsync'], {
    stdio: 'ignore',
    env: { PATH: '/usr/bin:/bin' },
  })
  const ask = (path: string, body?: object) =>
    new Promise<void>((resolve, reject) => {
      const sent = request(`${client}${path}`, {
        method: body ? 'POST' : 'GET',
        ca: ca.certificate,
        cert: certificate,
        key,
        agent: false,
      })
      sent.on('response', (response) =>
        response
          .resume()
          .on('end', () => (response.statusCode === 200 ? resolve() : reject(new Error(`${response.statusCode}`)))),
      )
      sent.on('error', reject).end(body && JSON.stringify(body))
    })
  for (let round = 0; ; round++) {
    const up = await ask('/health').then(
      () => true,
      () => false,
    )
    if (up) break
    if (round > 200 || child.exitCode !== null) {
      child.kill('SIGKILL')
      throw new Error(`etcd does not come up (${child.exitCode})`)
    }
    await sleep(100)
  }
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  return {
    url: client,
    ca: ca.certificate,
    client: { certificate, key },
    put: (name, value) => ask('/v3/kv/put', { key: base64(name), value: base64(value) }),
    stop: async () => {
      const ended = new Promise((done) => child.once('exit', done))
      child.kill('SIGTERM')
      await ended
      rmSync(root, { recursive: true, force: true })
    },
  }
}
