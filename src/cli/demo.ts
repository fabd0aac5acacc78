import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Admin, makeAdmin } from '../demo/admin.ts'
import { makeBox } from '../demo/box.ts'
import { type Rollcall, startRollcall } from '../demo/rollcall.ts'
import { recorded, serveStandIns, version } from '../demo/stand-in.ts'
import { type Command, type Io, UsageError } from './command.ts'
import { endSignal } from './end-signal.ts'

const serial = 'DEMO-0042'

/**
 * `rollcall demo`: the way of one device, end to end, on the real server, the real client.sh and the real HTTP API.
 * `--once` ends after the story instead of keeping the server up.
 */
export const demo: Command = async (args, io) => {
  const once = args.length === 1 && args[0] === '--once'
  if (args.length > 0 && !once) throw new UsageError(`unknown argument: ${args[0]}`)
  for (const tool of ['curl', 'openssl']) needTool(tool)
  const end = endSignal()
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-demo-'))
  // The embedded PostgreSQL runs under another account than root and must reach its own part.
  chmodSync(folder, 0o711)
  const releases = await serveStandIns()
  try {
    const rollcall = await start(folder, releases.url, io)
    try {
      await tell(folder, rollcall, io)
      if (!once) await stay(folder, rollcall, io, end.first)
    } finally {
      await rollcall.stop()
    }
  } finally {
    releases.close()
    rmSync(folder, { recursive: true, force: true })
  }
  return 0
}

async function start(folder: string, releases: string, io: Io): Promise<Rollcall> {
  step(io, 1, 'The server starts on a PostgreSQL of its own')
  const rollcall = await startRollcall(process.argv[1] as string, join(folder, 'data'), {
    ...io.env,
    DATABASE_URL: undefined,
    ROLLCALL_LOG_LEVEL: 'error',
    ROLLCALL_K3S_SCRIPT_URL: `${releases}/install.sh`,
    ROLLCALL_K3S_ARTIFACT_URL: releases,
  })
  say(io, `${rollcall.url} answers; devices know it by its key: ${rollcall.pins.split(';')[0]}`)
  return rollcall
}

async function tell(folder: string, { url, pins, token }: Rollcall, io: Io): Promise<void> {
  const admin = makeAdmin(folder, url, pins, token)
  const box = makeBox({
    folder: join(folder, 'box'),
    serial,
    url,
    pins,
    path: io.env.PATH ?? '',
    hear: (line) => say(io, line),
  })

  step(io, 2, 'An admin declares what is to become of the boxes')
  await declare(admin, io)

  step(io, 3, `A box makes its own key, and the admin puts ${serial} on the roll`)
  const line = await box.identity()
  await admin.postLines('/api/v1/devices/import', [{ ...line, profile: 'edge-server', cluster: 'site-a' }])
  say(io, `on the roll: ${serial}, ${(await device(admin)).state}; its key never left the box`)

  step(io, 4, 'The box is switched on: it signs a claim and calls in')
  const document = await box.claim()
  await show(folder, admin, document, io)

  step(io, 5, 'The box puts the files in place, installs, redeems its join token and reports')
  say(io, `(K3s itself is played by a stand-in: this machine is no box; below is what the box's console shows)`)
  const files = box.place(document)
  say(io, `${files.length} files, ${files.filter(({ mode }) => (mode & 0o077) === 0).length} of them for root alone`)
  await box.install()

  step(io, 6, 'What the roll knows of it')
  await timeline(admin, io)
}

async function declare(admin: Admin, io: Io): Promise<void> {
  await admin.post('/api/v1/versions', recorded)
  say(io, `version ${version}, with the SHA-256 of all that may run as root on a box`)
  await admin.post('/api/v1/clusters', {
    name: 'site-a',
    version,
    api_endpoint: 'https://k3s.site-a.example:6443',
    datastore: {
      kind: 'postgres',
      endpoint: 'postgres://k3s:only-in-the-demo@db.site-a.example:5432/k3s?sslmode=verify-full',
    },
  })
  say(io, 'cluster site-a, on a PostgreSQL datastore')
  await admin.post('/api/v1/profiles', {
    name: 'edge-server',
    document: 'cloud-init',
    role: 'server',
    template: 'builtin:debian',
  })
  say(io, 'profile edge-server: cloud-init for Debian, role server')
}

type Device = { state: string; assurance: string; hostname: string }

const device = async (admin: Admin) => (await admin.get(`/api/v1/devices/${serial}`)) as Device

async function show(folder: string, admin: Admin, document: string, io: Io): Promise<void> {
  say(
    io,
    `the answer: a cloud-init document of ${document.length} bytes for this box alone. Its settings (secrets redacted):`,
  )
  const shown = (await admin.get(`/api/v1/devices/${serial}/document`)) as { document: string }
  const wanted =
    /^\s*(hostname:|INSTALL_K3S_|ROLLCALL_(ROLE|SCRIPT|JOIN)|datastore-endpoint|tls-san|token-file|node-name)/
  for (const line of shown.document.split('\n').filter((text) => wanted.test(text))) io.out(`      ${line.trim()}`)
  const installed = hasTool('cloud-init')
  say(
    io,
    installed
      ? 'cloud-init is here, and checks it:'
      : 'cloud-init is not installed here, so the document is shown in part, not applied',
  )
  if (installed) say(io, checked(join(folder, 'user-data'), document))
}

// It opens what it checks: a pipe of Node's is a socket, which cannot be opened by its name below /dev.
function checked(file: string, document: string): string {
  writeFileSync(file, document, { mode: 0o600 })
  const { status, stdout, stderr, error } = spawnSync('cloud-init', ['schema', '-c', file], { encoding: 'utf8' })
  const words = (stdout ?? '') + (stderr ?? '') + (error?.message ?? '')
  return status === 0 ? words.trim() : `it ended with ${status}: ${words.trim()}`
}

type Event = { at: number; source: string; name: string; result: string | null }

async function timeline(admin: Admin, io: Io): Promise<void> {
  const { items } = (await admin.get(`/api/v1/devices/${serial}/timeline?limit=100`)) as { items: Event[] }
  for (const { at, source, name, result } of items) {
    io.out(`      ${new Date(at * 1000).toISOString().slice(11, 19)}  ${source.padEnd(8)} ${name} ${result ?? ''}`)
  }
  const { state, assurance, hostname } = await device(admin)
  say(io, `${serial} is ${state.toUpperCase()} (reported), node ${hostname}, proved by ${assurance}`)
  if (state !== 'ready') throw new Error(`the device should be ready, but is ${state}`)
}

async function stay(folder: string, { url, pins, ended }: Rollcall, io: Io, stop: Promise<unknown>): Promise<void> {
  const curl = `curl -sS -k --pinnedpubkey '${pins}' -H @${join(folder, 'admin.header')}`
  io.out(`\nThe server stays up until Ctrl-C. In another terminal:

  ${curl} ${url}/api/v1/devices
  ${curl} ${url}/api/v1/devices/${serial}/timeline
  ${curl} ${url}/api/v1/devices/${serial}/document
  ${curl} -X POST ${url}/api/v1/devices/${serial}/reenroll
  ${curl} ${url}/api/v1/audit
`)
  await Promise.race([stop, ended])
}

const step = (io: Io, number: number, text: string) => io.out(`\n${number}. ${text}`)
const say = (io: Io, text: string) => io.out(`   ${text}`)

function needTool(name: string): void {
  if (!hasTool(name)) throw new Error(`the demo needs ${name}, which the device's client uses: install it first`)
}

function hasTool(name: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
