import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { UsageError } from '../../src/cli/command.ts'
import { imageSeedCommand } from '../../src/cli/image-seed.ts'
import { suite } from '../suite.ts'

const folder = mkdtempSync(join(tmpdir(), 'rollcall-seed-'))
const url = 'https://rollcall.example.net:8443'
const pin = `sha256//${'A'.repeat(43)}=`
const io = { env: {}, out: () => {}, err: () => {} }
const run = (...args: string[]) => imageSeedCommand(args, io)
const seed = (directory: string, ...flags: string[]) => run(...flags, '--url', url, '--pin', pin, directory)

async function refused(running: Promise<number>, kind: new (message: string) => Error, words: RegExp): Promise<void> {
  const error = await running.then(
    () => assert.unreachable('it was not refused'),
    (thrown) => thrown as Error,
  )
  assert.instance(error, kind)
  assert.match((error as Error).message, words)
}

const test = suite('rollcall image-seed')
test.after(() => rmSync(folder, { recursive: true }))

for (const [what, args, words] of [
  ['no directory', ['--url', url, '--pin', pin], /DIRECTORY/],
  ['two directories', ['--url', url, '--pin', pin, 'a', 'b'], /DIRECTORY/],
  ['an address without TLS', ['--url', 'http://rollcall.example.net', '--pin', pin, 'a'], /--url/],
  ['no pin', ['--url', url, 'a'], /--pin/],
  ['a pin that would end its quotes', ['--url', url, '--pin', "sha256//'; reboot; '", 'a'], /--pin/],
  ['an unknown flag', ['--url', url, '--pin', pin, '--token', 'x', 'a'], /--token/],
] as const) {
  test(`refuses ${what} as wrong usage`, () => refused(run(...args), UsageError, words))
}

test('refuses an image that holds a key, and leaves it as it is', async () => {
  const root = join(folder, 'used')
  mkdirSync(join(root, 'var/lib/rollcall'), { recursive: true })
  writeFileSync(join(root, 'var/lib/rollcall/device.key'), 'key')
  await refused(seed(root), Error, /holds device\.key/)
  assert.equal(readdirSync(root), ['var'])
})

test('refuses an image whose links lead out of it', async () => {
  const root = join(folder, 'leading-out')
  const outside = join(folder, 'outside')
  mkdirSync(outside)
  mkdirSync(join(root, 'etc'), { recursive: true })
  symlinkSync(outside, join(root, 'etc/systemd'))
  await refused(seed(root), Error, /leads out of the image/)
  assert.equal(readdirSync(outside), [])
})

test('follows links that stay inside, as on systems where /usr/local lies in /var', async () => {
  const root = join(folder, 'inside')
  mkdirSync(join(root, 'var/usrlocal'), { recursive: true })
  mkdirSync(join(root, 'usr'))
  symlinkSync('../var/usrlocal', join(root, 'usr/local'))
  assert.is(await seed(root), 0)
  assert.ok(lstatSync(join(root, 'var/usrlocal/sbin/rollcall-client')).isFile())
})

test('seeds an image: programs, units, settings, one data source', async () => {
  const root = join(folder, 'image')
  assert.is(await seed(root), 0)
  const found = readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .map((path) => `${(lstatSync(join(root, path)).mode & 0o7777).toString(8)} ${path}`)
  assert.equal(found.sort(), [
    '644 /etc/cloud/cloud.cfg.d/99-rollcall-seed.cfg',
    '644 /etc/rollcall/client.env',
    '644 /etc/systemd/system/cloud-init-main.service.d/rollcall.conf',
    '644 /etc/systemd/system/rollcall-claim.service',
    '644 /etc/systemd/system/rollcall-forget.service',
    '644 /var/lib/cloud/seed/nocloud/meta-data',
    '644 /var/lib/cloud/seed/nocloud/user-data',
    '755 /usr/local/sbin/rollcall-client',
    '755 /usr/local/sbin/rollcall-forget',
    '777 /etc/systemd/system/cloud-init.target.wants/rollcall-claim.service',
    '777 /etc/systemd/system/cloud-init.target.wants/rollcall-forget.service',
  ])
  assert.is(
    readFileSync(join(root, 'etc/rollcall/client.env'), 'utf8'),
    `ROLLCALL_URL='${url}'\nROLLCALL_PIN='${pin}'\n`,
  )
})

test('may seed the same image again, with another address', async () => {
  const root = join(folder, 'image')
  assert.is(await run('--url', 'https://other.example.net', '--pin', pin, root), 0)
  assert.match(readFileSync(join(root, 'etc/rollcall/client.env'), 'utf8'), /other\.example\.net/)
})

test('warns of an address that leads nowhere but to this machine, in an image and on a stick', async () => {
  for (const [host, flags, warned] of [
    ['127.0.0.1:8443', [], true],
    ['[::1]:8443', [], true],
    ['localhost:8443', ['--stage-one'], true],
    ['rollcall.example.net:8443', [], false],
    ['rollcall.example.net:8443', ['--stage-one'], false],
  ] as const) {
    const said: string[] = []
    const args = [...flags, '--url', `https://${host}`, '--pin', pin, join(folder, 'warned')]
    assert.is(await imageSeedCommand(args, { ...io, err: (line) => said.push(line) }), 0)
    const warning = `the public URL https://${host} leads nowhere but to this machine, and devices will be told to use it: give --url what they reach it by`
    assert.equal(said.slice(1), warned ? [warning] : [])
  }
})

test('with --stage-one, writes what a NoCloud stick holds', async () => {
  const stick = join(folder, 'stick')
  assert.is(await seed(stick, '--stage-one'), 0)
  assert.equal(readdirSync(stick).sort(), ['meta-data', 'user-data'])
  assert.match(readFileSync(join(stick, 'user-data'), 'utf8'), /^#cloud-config\nbootcmd:\n/)
})
