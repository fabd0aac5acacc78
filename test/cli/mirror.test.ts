import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import * as assert from 'uvu/assert'
import { UsageError } from '../../src/cli/command.ts'
import { mirror } from '../../src/cli/mirror.ts'
import { versions } from '../../src/cli/versions.ts'
import { fileServer } from '../fakes/file-server.ts'
import { type MadeRelease, makeRelease, version } from '../fakes/release.ts'
import { testDatabase } from '../postgres.ts'
import { ask, rollcall, serving } from '../rollcall.ts'
import { suite } from '../suite.ts'

const test = suite('rollcall versions, rollcall mirror', { timeout: 120_000 })
const folder = mkdtempSync(join(tmpdir(), 'rollcall-mirror-cli-'))
const data = join(folder, 'data')
let release: MadeRelease
let sql: ReturnType<typeof postgres>
let database: Awaited<ReturnType<typeof testDatabase>>
test.before(async () => {
  database = await testDatabase()
  sql = postgres(database.url, { max: 1 })
  release = makeRelease(join(folder, 'release'))
})
test.after(async () => {
  await sql.end()
  await database.close()
  rmSync(folder, { recursive: true })
})

const env = () => ({ DATABASE_URL: database.url, ROLLCALL_SEALING_KEY_FILE: join(data, 'sealing.key') })

/** A command in this process, where nobody can be asked; main.ts says the same of what is thrown. */
async function run(
  name: 'versions' | 'mirror',
  ...args: string[]
): Promise<{ code: number; out: string; err: string }> {
  const [out, err]: [string[], string[]] = [[], []]
  const io = { env: env(), out: (line: string) => out.push(line), err: (line: string) => err.push(line) }
  const command = { versions, mirror }[name]
  const code = await command([...args, '--data-dir', data], io).catch((error: Error) => {
    err.push(error.message)
    return error instanceof UsageError ? 2 : 1
  })
  return { code, out: out.join('\n'), err: err.join('\n') }
}
const lines = (text: string) => text.split('\n').filter(Boolean)
const mirrored = () => readdirSync(join(data, 'mirror', 'sha256')).length

for (const [what, args, words] of [
  ['no verb', ['mirror', ''], /what there is to do/],
  ['a verb of every object', ['mirror', 'constructor'], /what there is to do/],
  ['no version', ['versions', 'add'], /give VERSION/],
  ['a channel', ['versions', 'add', 'stable'], /give a version/],
  ['an architecture that is none', ['versions', 'add', version, '--arch', 'riscv'], /--arch/],
  ['a directory that is not there', ['mirror', 'add', version, '--from', '/nowhere'], /--from/],
  ['a directory whose name is empty', ['versions', 'add', version, '--from', ''], /--from/],
] as const) {
  test(`2: ${what}`, async () => {
    const [name, ...rest] = args
    const end = await run(name, ...rest)
    assert.is(end.code, 2)
    assert.match(end.err, words)
  })
}

test('1: a mistyped data directory is not made an installation by asking what is on record', async () => {
  const wrong = join(folder, 'mistyped')
  const end = await rollcall(['versions', 'list', '--data-dir', wrong])
  assert.is(end.code, 1)
  assert.match(end.err, /holds no database/)
  assert.is(existsSync(wrong), false)
})

test('1: nobody is there to confirm; what was found is shown all the same', async () => {
  const end = await run('versions', 'add', version, '--from', release.directory)
  assert.is(end.code, 1)
  assert.match(end.err, /give --yes/)
  assert.match(end.err, /[0-9a-f]{64} {2}k3s {2}sha256sum-amd64\.txt/)
  assert.match(end.err, /install\.sh, as its \.sha256sum says/)
  assert.is((await run('versions', 'list')).out, '')
})

test('1: the admin says no at the terminal; 0: yes', async () => {
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
  const command = `${process.execPath} --import tsx ${main} versions add ${version} --from ${release.directory} --data-dir ${data}`
  const answered = (answer: string) => {
    const env = { PATH: process.env.PATH, HOME: '/nonexistent', DATABASE_URL: database.url }
    const options = {
      input: answer,
      env,
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: 'pipe' as const,
    }
    try {
      return { code: 0, out: execFileSync('script', ['-qefc', command, '/dev/null'], options).toString() }
    } catch (error) {
      const { status, stdout } = error as { status: number; stdout: Buffer }
      return { code: status, out: stdout.toString() }
    }
  }
  const no = answered('n\n')
  assert.is(no.code, 1)
  assert.match(no.out, /Record 9 hashes of v1\.36\.3\+k3s1\?[\s\S]*nothing was done/)
  const yes = answered('y\n')
  assert.is(yes.code, 0)
  assert.match(yes.out, /is on record/)
  assert.is(lines((await run('versions', 'list')).out).length, 9)
})

test('0: what is on record already is not asked again', async () => {
  const end = await run('versions', 'add', version, '--from', release.directory)
  assert.is(end.code, 0)
  assert.match(end.err, /was on record already/)
})

test('1: a changed hash is an alarm, even with --yes, and changes nothing', async () => {
  const other = makeRelease(join(folder, 'other'))
  const before = (await run('versions', 'list')).out
  for (const verb of ['versions', 'mirror'] as const) {
    const end = await run(verb, 'add', version, '--from', other.directory, '--yes')
    assert.is(end.code, 1)
    assert.match(end.err, /!! ON RECORD IS [0-9a-f]{64}/)
    assert.match(end.err, /ALARM: .* another hash of .*k3s/)
  }
  assert.is((await run('versions', 'list')).out, before)
  const alarms = await sql`select actor from audit where action = 'version.alarm.hash'`
  assert.equal(
    alarms.map(({ actor }) => actor),
    ['cli', 'cli'],
  )
})

test('1: a file that is not what its list says; nothing of the release is served', async () => {
  const bytes = release.bytes('k3s-arm64')
  for (const spoilt of [bytes.subarray(1), Buffer.alloc(bytes.length)]) {
    release.write('k3s-arm64', spoilt)
    const end = await run('mirror', 'add', version, '--from', release.directory)
    assert.is(end.code, 1)
    assert.match(end.err, /k3s-arm64 has another SHA-256 than its list says/)
    assert.is((await run('mirror', 'list')).out, '')
  }
  release.write('k3s-arm64', bytes)
})

test('1: a symbolic link in place of a file', async () => {
  const linked = makeRelease(join(folder, 'linked'), ['amd64'])
  rmSync(join(linked.directory, 'install.sh'))
  symlinkSync('/etc/hostname', join(linked.directory, 'install.sh'))
  const end = await run('mirror', 'add', 'v1.36.9+k3s1', '--from', linked.directory, '--yes')
  assert.is(end.code, 1)
  assert.match(end.err, /install\.sh is a symbolic link/)
})

test('0: a release from a directory, every file by its hash, and once more', async () => {
  const end = await run('mirror', 'add', version, '--from', release.directory)
  assert.is(end.code, 0, end.err)
  const names = lines((await run('mirror', 'list')).out).map((line) => line.split('\t')[1])
  assert.equal(names.sort(), [
    'install.sh',
    'k3s',
    'k3s-airgap-images-amd64.tar.zst',
    'k3s-airgap-images-arm64.tar.zst',
    'k3s-arm64',
    'sha256sum-amd64.txt',
    'sha256sum-arm64.txt',
  ])
  const again = await run('mirror', 'add', version, '--from', release.directory)
  assert.match(again.err, /k3s: \d+ kB, was there/)
  assert.is(mirrored(), 7)
})

test('1: a further file under a reserved name, with another hash than was given, of a version that is not there', async () => {
  const rpm = join(folder, 'k3s-selinux-1.6-1.el9.noarch.rpm')
  writeFileSync(rpm, 'policy')
  writeFileSync(join(folder, 'k3s'), 'k3s')
  assert.is((await run('mirror', 'add-file', version, join(folder, 'k3s'))).code, 2)
  const wrong = await run('mirror', 'add-file', version, rpm, '--sha256', '0'.repeat(64))
  assert.match(wrong.err, /another SHA-256 than was given/)
  assert.match((await run('mirror', 'add-file', 'v1.36.4+k3s1', rpm, '--yes')).err, /does not hold/)
  assert.match((await run('mirror', 'add-file', version, rpm)).err, /give --yes/)
})

test('0: a further file; 1: another one under its name', async () => {
  const rpm = join(folder, 'k3s-selinux-1.6-1.el9.noarch.rpm')
  assert.is((await run('mirror', 'add-file', version, rpm, '--yes')).code, 0)
  assert.match((await run('mirror', 'list')).out, /\tk3s-selinux-1\.6-1\.el9\.noarch\.rpm\t6\t/)
  assert.match((await run('versions', 'list')).out, /\tk3s-selinux-1\.6-1\.el9\.noarch\.rpm\t/)
  writeFileSync(rpm, 'other policy')
  assert.match((await run('mirror', 'add-file', version, rpm, '--yes')).err, /ALARM/)
})

test('0: the running server serves it on both listeners, and another mirror can be filled from there', async () => {
  const server = await serving(['--data-dir', data], { env: env() })
  try {
    const url = `${server.http}/assets/k3s`
    const answer = await fetch(`${url}/v1.36.3+k3s1/k3s-arm64`)
    assert.ok(Buffer.from(await answer.arrayBuffer()).equals(release.bytes('k3s-arm64')))
    // As rollcall-node does it: the pinned key, and on from where a download broke off.
    const part = join(folder, 'part')
    writeFileSync(part, release.bytes('k3s').subarray(0, 5_000))
    const { pin } = await ask(`${server.https}/healthz`)
    const trust = ['-q', '-sS', '-f', '-k', '--pinnedpubkey', pin, '-C', '-']
    execFileSync('curl', [...trust, '-o', part, `${server.https}/assets/k3s/v1.36.3%2Bk3s1/k3s`])
    assert.ok(readFileSync(part).equals(release.bytes('k3s')))
    const second = join(folder, 'second')
    const args = ['mirror', 'add', version, '--from', url, '--arch', 'arm64', '--no-images', '--data-dir', second]
    const end = await rollcall(args, { env: env() })
    assert.is(end.code, 0, end.err)
    const { out } = await rollcall(['mirror', 'list', '--data-dir', second], { env: env() })
    assert.match(out, /\tk3s-arm64\t/)
    assert.not.match(out, /amd64/)
  } finally {
    await server.stop()
  }
})

test('0: from the addresses that documents would name, when nothing else is given', async () => {
  const server = await fileServer()
  const later = 'v1.36.5+k3s1'
  try {
    for (const name of readdirSync(release.directory)) server.files.set(`/r/${later}/${name}`, release.bytes(name))
    server.files.set(`/s/${later}/install.sh`, release.bytes('install.sh'))
    const named = {
      ...env(),
      ROLLCALL_K3S_ARTIFACT_URL: `${server.url}/r`,
      ROLLCALL_K3S_SCRIPT_URL: `${server.url}/s/{version}/install.sh`,
    }
    const end = await rollcall(['versions', 'add', later, '--arch', 'amd64', '--yes', '--data-dir', data], {
      env: named,
    })
    assert.is(end.code, 0, end.err)
    assert.match(end.err, /WITHOUT A LIST THAT NAMES IT/)
    assert.ok(server.seen.includes('GET /r/v1.36.5%2Bk3s1/sha256sum-amd64.txt'))
  } finally {
    await server.close()
  }
})

test('1: removing what a cluster installs, unless confirmed; then its files are gone', async () => {
  await sql`
    insert into clusters (id, name, k3s_version, datastore_kind, datastore_sealed, server_token_sealed, created_at, updated_at)
    values ('clu_1', 'site-a', ${version}, 'sqlite', '', '', now(), now())`
  const asked = await run('mirror', 'remove', version)
  assert.is(asked.code, 1)
  assert.match(asked.err, /site-a/)
  assert.is((await run('mirror', 'remove', version, '--yes')).code, 0)
  assert.is(mirrored(), 0)
  assert.match((await run('mirror', 'remove', version)).err, /does not hold/)
})
