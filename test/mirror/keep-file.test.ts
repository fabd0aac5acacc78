import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { blobPath, keepFile, NoRoom } from '../../src/mirror/keep-file.ts'
import { directorySource, type Source } from '../../src/mirror/source.ts'
import { urlSource } from '../../src/mirror/url-source.ts'
import { type FileServer, fileServer } from '../fakes/file-server.ts'
import { suite } from '../suite.ts'

const test = suite('keeping a file of a release')
const folder = mkdtempSync(join(tmpdir(), 'rollcall-mirror-'))
let server: FileServer
test.before(async () => {
  server = await fileServer()
})
test.after(async () => {
  await server.close()
  rmSync(folder, { recursive: true })
})

const bytes = randomBytes(300_000)
const sha256 = createHash('sha256').update(bytes).digest('hex')
const wanted = { name: 'k3s', sha256 }

let count = 0
const emptyRoot = () => join(folder, `mirror-${++count}`)
function directoryWith(content: Buffer): string {
  const directory = join(folder, `from-${++count}`)
  mkdirSync(directory)
  writeFileSync(join(directory, 'k3s'), content)
  return directory
}
const held = (root: string) =>
  ['sha256', 'partial'].map((name) => (existsSync(join(root, name)) ? readdirSync(join(root, name)) : []))

async function refused(root: string, source: Source, words: RegExp): Promise<void> {
  const error = await keepFile(root, source, wanted).then(
    () => assert.unreachable('it was kept'),
    (thrown) => thrown as Error,
  )
  assert.match((error as Error).message, words)
  assert.equal(held(root), [[], []])
}

test('refuses a file that is not what its list says, and keeps nothing of it', async () => {
  const other = Buffer.from(bytes)
  other[150_000] = (other[150_000] as number) ^ 1
  await refused(emptyRoot(), directorySource(directoryWith(other)), /another SHA-256/)
  server.files.set('/other/k3s', other)
  await refused(emptyRoot(), urlSource(`${server.url}/other`), /another SHA-256/)
})

test('refuses a file that is cut short', () =>
  refused(emptyRoot(), directorySource(directoryWith(bytes.subarray(0, 299_999))), /cut short/))

test('refuses a symbolic link, a directory, and what is not there', async () => {
  const directory = directoryWith(bytes)
  rmSync(join(directory, 'k3s'))
  await refused(emptyRoot(), directorySource(directory), /is not there/)
  symlinkSync('/etc/passwd', join(directory, 'k3s'))
  await refused(emptyRoot(), directorySource(directory), /is a symbolic link/)
  rmSync(join(directory, 'k3s'))
  mkdirSync(join(directory, 'k3s'))
  await refused(emptyRoot(), directorySource(directory), /is no file/)
})

test('refuses an answer that is none', async () => {
  await refused(emptyRoot(), urlSource(`${server.url}/nothing`), /is not there/)
  server.plan('/forbidden/k3s', { status: 403 })
  await refused(emptyRoot(), urlSource(`${server.url}/forbidden`), /answers 403/)
})

test('keeps a file by its hash, readable for all, and does not fetch it twice', async () => {
  const root = emptyRoot()
  const source = directorySource(directoryWith(bytes))
  const before = process.umask(0o077)
  try {
    assert.equal(await keepFile(root, source, wanted), { size: bytes.length, had: false })
  } finally {
    process.umask(before)
  }
  assert.ok(readFileSync(blobPath(root, sha256)).equals(bytes))
  assert.is(statSync(blobPath(root, sha256)).mode & 0o777, 0o644)
  assert.is(statSync(join(root, 'sha256')).mode & 0o777, 0o755)
  assert.equal(await keepFile(root, source, wanted), { size: bytes.length, had: true })
})

test('fetches a kept file again if the disk has spoilt it', async () => {
  const root = emptyRoot()
  const source = directorySource(directoryWith(bytes))
  await keepFile(root, source, wanted)
  writeFileSync(blobPath(root, sha256), 'spoilt')
  assert.is((await keepFile(root, source, wanted)).had, false)
  assert.ok(readFileSync(blobPath(root, sha256)).equals(bytes))
})

test('takes a download up where it broke off, in the same run', async () => {
  server.files.set('/cut/k3s', bytes)
  server.plan('/cut/k3s', 'cut', { status: 503 })
  const root = emptyRoot()
  await keepFile(root, urlSource(`${server.url}/cut`), wanted)
  assert.ok(readFileSync(blobPath(root, sha256)).equals(bytes))
  const asked = server.seen.filter((one) => one.includes('/cut/'))
  assert.is(asked[0], 'GET /cut/k3s')
  for (const one of asked.slice(1)) assert.match(one, /^GET \/cut\/k3s bytes=[1-9]\d*-$/)
})

test('takes up what an earlier run left, and starts over where that was of another file', async () => {
  server.files.set('/left/k3s', bytes)
  for (const begun of [bytes.subarray(0, 1_000), randomBytes(1_000), randomBytes(400_000)]) {
    const root = emptyRoot()
    mkdirSync(join(root, 'partial'), { recursive: true })
    writeFileSync(join(root, 'partial', sha256), begun)
    await keepFile(root, urlSource(`${server.url}/left`), wanted)
    assert.ok(readFileSync(blobPath(root, sha256)).equals(bytes))
    assert.equal(held(root), [[sha256], []])
  }
})

test('starts over where a server knows no ranges', async () => {
  server.files.set('/whole/k3s', bytes)
  server.plan('/whole/k3s', 'no-range')
  const root = emptyRoot()
  mkdirSync(join(root, 'partial'), { recursive: true })
  writeFileSync(join(root, 'partial', sha256), bytes.subarray(0, 1_000))
  await keepFile(root, urlSource(`${server.url}/whole`), wanted)
  assert.ok(readFileSync(blobPath(root, sha256)).equals(bytes))
})

test('without room it says so, and leaves nothing behind', async () => {
  const root = emptyRoot()
  mkdirSync(root)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', root], { stdio: 'pipe' })
  } catch (error) {
    console.error(`SKIPPED: no small disk could be mounted (${String(error).split('\n')[0]})`)
    return
  }
  try {
    const error = await keepFile(root, directorySource(directoryWith(bytes)), wanted).catch((thrown) => thrown)
    assert.instance(error, NoRoom)
    assert.match(error.message, /no room for k3s \(ENOSPC\)/)
    assert.equal(held(root), [[], []])
  } finally {
    execFileSync('umount', [root])
  }
})
