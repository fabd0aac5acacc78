import { execFileSync } from 'node:child_process'
import { chmodSync, closeSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { openOwnPostgres } from '../../src/cli/open-store.ts'
import { loadConfig } from '../../src/config.ts'
import { FakeDevice } from '../fakes/device.ts'
import { rollcall, type Serving, serving } from '../rollcall.ts'
import { suite } from '../suite.ts'

const test = suite('a full disk', { timeout: 240_000 })

const folder = mkdtempSync(join(tmpdir(), 'rollcall-full-'))
const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
const mounted = mountSmall()
let server: Serving | undefined
test.after(async () => {
  await server?.stop()
  agent.destroy()
  if (mounted) execFileSync('umount', ['--lazy', folder])
  rmdirSync(folder)
})

/** Only root may mount, and not in every container. */
function mountSmall(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400m,mode=0711', 'rollcall-full', folder], { stdio: 'pipe' })
    chmodSync(folder, 0o711)
    return true
  } catch (error) {
    console.log(
      `skipped: a small disk cannot be mounted here, so none was filled up: ${(error as Error).message.trim()}`,
    )
    return false
  }
}

const ballast = join(folder, 'ballast')
function fillUp(): void {
  const file = openSync(ballast, 'w')
  for (const size of [1 << 20, 4096]) {
    const block = Buffer.alloc(size, 1)
    try {
      while (writeSync(file, block) === size);
    } catch (error) {
      assert.is((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
  }
  closeSync(file)
}

type Answer = { status: number; code: string; text: string; headers: Record<string, unknown> }

function send(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((done, fail) => {
    const sent = request(`${(server as Serving).https}${path}`, { method, headers, agent }, (answer) => {
      let text = ''
      answer.on('data', (chunk) => (text += chunk))
      answer.on('end', () => {
        const isProblem = answer.headers['content-type'] === 'application/problem+json'
        const code = isProblem ? ` ${JSON.parse(text).code}` : ''
        done({ status: answer.statusCode ?? 0, code: `${answer.statusCode}${code}`, text, headers: answer.headers })
      })
    })
    sent.on('error', fail).end(body)
  })
}

async function claim(box: FakeDevice): Promise<Answer> {
  const nonce = (await send('GET', '/v1/challenge')).headers['rollcall-nonce'] as string
  const jws = box.claim(nonce, { aud: (server as Serving).https })
  return send('POST', '/v1/claim', jws, { 'content-type': 'application/jose' })
}

const data = join(folder, 'data')
let bearer: { authorization: string }
const post = async (path: string, body: object) => {
  const answer = await send('POST', path, JSON.stringify(body), { ...bearer, 'content-type': 'application/json' })
  assert.is(answer.status, 201, answer.text)
}
const importLines = (lines: object[]) =>
  send('POST', '/api/v1/devices/import', lines.map((line) => JSON.stringify(line)).join('\n'), {
    ...bearer,
    'content-type': 'application/x-ndjson',
  })
const line = ({ serial, jwk }: FakeDevice) => ({
  serial,
  profile: 'edge',
  cluster: 'site-a',
  identity: { kind: 'key', jwk },
})

async function begin(): Promise<void> {
  server = await serving(['--data-dir', data])
  const token = await rollcall(['token', 'create', '--name', 't', '--scope', 'admin', '--data-dir', data])
  bearer = { authorization: `Bearer ${token.out.trim()}` }
  await post('/api/v1/clusters', {
    name: 'site-a',
    version: 'v1.36.3+k3s1',
    allow_unpinned: true,
    ca_hash: 'ab'.repeat(32),
    datastore: { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' },
  })
  await post('/api/v1/profiles', { name: 'edge', document: 'cloud-init', role: 'server', template: 'builtin:debian' })
}

/** Fills what PostgreSQL keeps of its log on the full disk: it cannot go on, and not start again either. */
async function overwhelm(sql: postgres.Sql): Promise<void> {
  for (let megabytes = 0; megabytes < 64; megabytes++)
    await sql`select pg_logical_emit_message(false, 'test', repeat('x', 1000000))`
}

if (mounted) {
  test('refuses claims and imports with 503 while it lasts, and goes on by itself when there is room', async () => {
    await begin()
    const boxes = Array.from({ length: 40 }, (_, n) => new FakeDevice(`FULL-${n}`))
    const later = Array.from({ length: 300 }, (_, n) => ({ serial: `LATER-${n}`, profile: 'edge', cluster: 'site-a' }))
    assert.is((await importLines(boxes.map(line))).status, 200)

    fillUp()
    const refused = await importLines(later)
    assert.is(refused.code, '503 datastore_unavailable', refused.text)
    assert.ok(Number(refused.headers['retry-after']) > 0)
    const during: string[] = []
    const waiting: FakeDevice[] = []
    for (const box of boxes) {
      const { code } = await claim(box)
      during.push(code)
      if (code !== '200') waiting.push(box)
    }
    assert.equal(
      [...new Set(during)].filter((code) => code !== '200'),
      ['503 datastore_unavailable'],
    )
    assert.is((await send('GET', '/v1/challenge')).status, 200)

    rmSync(ballast)
    for (const box of waiting) assert.is((await claim(box)).code, '200')
    const taken = await importLines(later)
    assert.is(JSON.parse(taken.text).created, later.length, taken.text)
    assert.is((await send('GET', '/readyz')).status, 200)
  })

  test('does the same where PostgreSQL itself ends for want of room, and is started again when there is some', async () => {
    const box = new FakeDevice('FULL-LAST')
    assert.is((await importLines([line(box)])).status, 200)
    const config = loadConfig({ flags: { 'data-dir': data }, env: {}, root: true })
    const embedded = await openOwnPostgres(config, 'guest', () => {})
    const sql = postgres({ ...embedded.connection, max: 1 })
    await embedded.close()

    fillUp()
    const failed = await overwhelm(sql).catch((error: Error) => error)
    assert.instance(failed, Error, 'PostgreSQL went on')
    await sql.end({ timeout: 1 })
    for (const _ of [1, 2, 3]) {
      assert.is((await claim(box)).code, '503 datastore_unavailable')
      assert.is((await send('GET', '/readyz')).status, 503)
      assert.is((await send('GET', '/v1/challenge')).status, 200)
      await sleep(1_000)
    }

    rmSync(ballast)
    let code = ''
    for (const deadline = Date.now() + 90_000; code !== '200' && Date.now() < deadline; await sleep(500)) {
      code = (await claim(box)).code
      assert.match(code, /^(?:200|503 datastore_unavailable)$/)
    }
    assert.is(code, '200')
  })
}
