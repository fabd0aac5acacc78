import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hono } from 'hono'
import pino from 'pino'
import * as assert from 'uvu/assert'
import { assetRoutes } from '../../src/http/assets.ts'
import { notFound, onError } from '../../src/http/problem.ts'
import { blobPath, keepFile } from '../../src/mirror/keep-file.ts'
import { mirrorDisk, writeIndex } from '../../src/mirror/mirror-disk.ts'
import { memorySource } from '../../src/mirror/source.ts'
import { type Listener, listenHttp } from '../../src/server.ts'
import { suite } from '../suite.ts'

const test = suite('/assets/k3s')
const root = mkdtempSync(join(tmpdir(), 'rollcall-assets-'))
const version = 'v1.36.3+k3s1'
const bytes = randomBytes(200_000)
const sha256 = createHash('sha256').update(bytes).digest('hex')
const disk = mirrorDisk(root)
const app = new Hono()
app.onError(onError(pino({ level: 'silent' })))
app.route('/', assetRoutes(disk))
app.notFound(notFound(app))

let listener: Listener
test.before(async () => {
  await keepFile(root, memorySource(new Map([['k3s', bytes]])), { name: 'k3s', sha256 })
  await writeIndex(root, { version, changed_at: 1, files: { k3s: { sha256, size: bytes.length } } })
  listener = await listenHttp('127.0.0.1', 0)
  listener.serve(app)
})
test.after(async () => {
  await listener.drain(0)
  rmSync(root, { recursive: true })
})

type Got = { status: number; headers: Record<string, string | string[] | undefined>; body: Buffer }
/** As the path is written: fetch would tidy it up. */
function get(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Got> {
  return new Promise((done, fail) => {
    const asked = request({ host: '127.0.0.1', port: listener.port, path, method, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk) => chunks.push(chunk))
      answer.on('end', () =>
        done({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) }),
      )
    })
    asked.on('error', fail).end()
  })
}
const file = `/assets/k3s/v1.36.3%2Bk3s1/k3s`

test('404: what no index names, however its path is written, and every listing', async () => {
  writeFileSync(join(root, 'secret'), 'secret')
  const paths = [
    '/assets/k3s',
    '/assets/k3s/',
    '/assets/k3s/v1.36.3%2Bk3s1',
    '/assets/k3s/v1.36.3%2Bk3s1/',
    '/assets/k3s/v1.36.4%2Bk3s1/k3s',
    '/assets/k3s/v1.36.3%2Bk3s1/k3s-arm64',
    '/assets/k3s/v1.36.3%2Bk3s1/__proto__',
    '/assets/k3s/v1.36.3%2Bk3s1/constructor',
    `/assets/k3s/v1.36.3%2Bk3s1/${sha256}`,
    '/assets/k3s/../mirror/secret',
    '/assets/k3s/v1.36.3%2Bk3s1/../../secret',
    '/assets/k3s/v1.36.3%2Bk3s1/..%2F..%2Fsecret',
    '/assets/k3s/..%2F..%2Fversions/secret',
    '/assets/k3s/%2e%2e/secret',
    '/assets/k3s/v1.36.3%2Bk3s1/k3s%00',
    '/assets/k3s/v1.36.3%2Bk3s1/%ff',
    '/assets/k3s/v1.36.3%252Bk3s1/k3s',
  ]
  for (const path of paths) {
    const { status, body } = await get(path)
    assert.is(status, 404, path)
    assert.not.match(body.toString(), /secret$/)
  }
})

test('405: anything but GET and HEAD', async () => {
  const { status, headers } = await get(file, {}, 'POST')
  assert.is(status, 405)
  assert.is(headers.allow, 'GET, HEAD')
})

test('200: the file whole, with + and with %2B', async () => {
  for (const path of [file, '/assets/k3s/v1.36.3+k3s1/k3s', '/assets/k3s/v1.36.3%2bk3s1/k3s?x=1']) {
    const { status, headers, body } = await get(path)
    assert.is(status, 200, path)
    assert.is(headers['content-length'], String(bytes.length))
    assert.is(headers['accept-ranges'], 'bytes')
    assert.is(headers.etag, `"${sha256}"`)
    assert.ok(headers['last-modified'])
    assert.ok(body.equals(bytes))
  }
})

test('200: HEAD says the same and sends nothing', async () => {
  const { status, headers, body } = await get(file, {}, 'HEAD')
  assert.is(status, 200)
  assert.is(headers['content-length'], String(bytes.length))
  assert.is(headers.etag, `"${sha256}"`)
  assert.is(body.length, 0)
})

for (const [range, start, end] of [
  ['bytes=0-', 0, 199_999],
  ['bytes=1000-1999', 1_000, 1_999],
  ['bytes=199999-', 199_999, 199_999],
  ['bytes=-500', 199_500, 199_999],
  ['bytes=100000-9999999', 100_000, 199_999],
] as const) {
  test(`206: ${range}`, async () => {
    const { status, headers, body } = await get(file, { range })
    assert.is(status, 206)
    assert.is(headers['content-range'], `bytes ${start}-${end}/200000`)
    assert.is(headers['content-length'], String(end - start + 1))
    assert.ok(body.equals(bytes.subarray(start, end + 1)))
  })
}

test('416: a range past the end, as curl asks for what it has already', async () => {
  const { status, headers } = await get(file, { range: 'bytes=200000-' })
  assert.is(status, 416)
  assert.is(headers['content-range'], 'bytes */200000')
})

test('200 and the whole file: several ranges, other units, and what is no range', async () => {
  for (const range of ['bytes=0-0,5-6', 'lines=0-1', 'bytes=x', 'bytes=-', 'bytes 0-1']) {
    const { status, headers, body } = await get(file, { range })
    assert.equal([range, status, headers['content-range'], body.length], [range, 200, undefined, bytes.length])
  }
})

test('200 instead of 206: If-Range of something else; 206 of this', async () => {
  const range = 'bytes=10-'
  assert.is((await get(file, { range, 'if-range': '"other"' })).status, 200)
  assert.is((await get(file, { range, 'if-range': `"${sha256}"` })).status, 206)
})

test('304: the same ETag, weak or strong, alone or in a list', async () => {
  for (const etag of [`"${sha256}"`, `W/"${sha256}"`, `"x", "${sha256}"`, '*']) {
    const { status, headers, body } = await get(file, { 'if-none-match': etag })
    assert.is(status, 304, etag)
    assert.is(headers.etag, `"${sha256}"`)
    assert.is(body.length, 0)
  }
  assert.is((await get(file, { 'if-none-match': '"x"' })).status, 200)
})

test('404: a file whose bytes are gone from the disk; what another process adds is there at once', async () => {
  const other = randomBytes(10)
  const hash = createHash('sha256').update(other).digest('hex')
  await keepFile(root, memorySource(new Map([['x', other]])), { name: 'x', sha256: hash })
  const entry = { sha256: hash, size: 10 }
  await writeIndex(root, { version, changed_at: 2, files: { k3s: { sha256, size: bytes.length }, x: entry } })
  assert.ok((await get('/assets/k3s/v1.36.3+k3s1/x')).body.equals(other))
  rmSync(blobPath(root, hash))
  assert.is((await get('/assets/k3s/v1.36.3+k3s1/x')).status, 404)
})

test('lets go of a file that nobody takes any more, and of none that is taken slowly', async () => {
  const large = randomBytes(16 * 1024 * 1024)
  const hash = createHash('sha256').update(large).digest('hex')
  await keepFile(root, memorySource(new Map([['large', large]])), { name: 'large', sha256: hash })
  await writeIndex(root, {
    version: 'v1.36.9+k3s1',
    changed_at: 2,
    files: { large: { sha256: hash, size: large.length } },
  })
  const impatient = await listenHttp('127.0.0.1', 0)
  impatient.serve(assetRoutes(disk, 400))
  const fetched = (pause: number) =>
    new Promise<number>((done) => {
      const at = {
        host: '127.0.0.1',
        port: impatient.port,
        path: '/assets/k3s/v1.36.9+k3s1/large',
        agent: false as const,
      }
      request(at, async (answer) => {
        let size = 0
        answer.on('close', () => done(size))
        answer.on('error', () => {})
        answer.pause()
        await sleep(pause)
        answer.on('data', (chunk) => {
          size += chunk.length
          answer.pause()
          setTimeout(() => answer.resume(), 1)
        })
        answer.resume()
      }).end()
    })
  assert.is(await fetched(150), large.length)
  assert.ok((await fetched(2_000)) < large.length)
  await impatient.drain(0)
})
