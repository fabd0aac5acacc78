import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { checkIgnition, parseIgnition } from '../../src/documents/ignition.ts'
import { suite } from '../suite.ts'

const check = (text: string) =>
  checkIgnition(parseIgnition(`ignition: {version: 3.3.0}\n${text}`))
    .map(({ message }) => message)
    .join('; ')
const file = (members: string) => check(`storage: {files: [{path: /a, ${members}}]}`)

const test = suite('Ignition configs')

test('refuses another version than 3.3.0', () => {
  assert.match(
    checkIgnition({ ignition: { version: '3.4.0' } })
      .map(({ message }) => message)
      .join(),
    /ignition.version/,
  )
  assert.is(checkIgnition({}).length > 0, true)
  assert.is(checkIgnition(null).length > 0, true)
})

const refused: [what: string, text: string, why: RegExp][] = [
  ['an unknown key', 'storge: {}', /Unrecognized key/],
  [
    'an unknown key deep inside',
    'storage: {files: [{path: /a, contents: {sources: "data:,"}}]}',
    /storage.files.0.contents: Unrecognized/,
  ],
  ['a relative path', 'storage: {files: [{path: a}]}', /absolute/],
  ['a path that is not clean', 'storage: {files: [{path: /a/../b}]}', /clean/],
  ['a path that ends in a slash', 'storage: {directories: [{path: /a/}]}', /clean/],
  ['a path that two things write', 'storage: {files: [{path: /a}], links: [{path: /a, target: /b}]}', /written twice/],
  ['a unit named twice', 'systemd: {units: [{name: a.service}, {name: a.service}]}', /named twice/],
  ['a unit name without a kind', 'systemd: {units: [{name: a}]}', /unit name/],
  [
    'an enabled unit without [Install]',
    'systemd: {units: [{name: a.service, enabled: true, contents: "[Service]"}]}',
    /no \[Install\]/,
  ],
  ['a drop-in that systemd passes over', 'systemd: {units: [{name: a.service, dropins: [{name: a}]}]}', /\.conf/],
  ['a user named twice', 'passwd: {users: [{name: a}, {name: a}]}', /named twice/],
]
for (const [what, text, why] of refused) test(`refuses ${what}`, () => assert.match(check(text), why))

const refusedFiles: [what: string, members: string, why: RegExp][] = [
  ['octal as YAML 1.2 reads it', 'mode: 0600', /decimal/],
  ['a mode as text', 'mode: "384"', /mode/],
  ['special bits, which 3.3 drops', 'mode: 2541', /decimal/],
  [
    'a hash without its kind',
    `contents: {source: "https://a/b", verification: {hash: "${'a'.repeat(64)}"}}`,
    /sha256-/,
  ],
  [
    'a hash in upper case',
    `contents: {source: "https://a/b", verification: {hash: "sha256-${'A'.repeat(64)}"}}`,
    /sha256-/,
  ],
  ['a short hash', 'contents: {source: "https://a/b", verification: {hash: "sha512-abcd"}}', /sha512-/],
  ['a source of no known kind', 'contents: {source: "file:///a"}', /must be a data/],
  ['base64 that is none', 'contents: {source: "data:;base64,a$b="}', /valid data URL/],
  ['base64 that was cut', 'contents: {source: "data:;base64,QUJ"}', /valid data URL/],
  ['a data URL without a comma', 'contents: {source: "data:text/plain"}', /valid data URL/],
  ['a bare % in a data URL', 'contents: {source: "data:,100%"}', /valid data URL/],
  ['overwriting with nothing', 'overwrite: true', /without a source/],
  ['another compression', 'contents: {source: "data:,", compression: xz}', /compression/],
]
for (const [what, members, why] of refusedFiles)
  test(`refuses a file with ${what}`, () => assert.match(file(members), why))

test('takes what spec 3.3.0 has', () => {
  const config = {
    ignition: {
      version: '3.3.0',
      config: { merge: [{ source: 'https://a/b', httpHeaders: [{ name: 'Authorization', value: 'Bearer x' }] }] },
      security: { tls: { certificateAuthorities: [{ source: 'data:,x' }] } },
      timeouts: { httpResponseHeaders: 10, httpTotal: 0 },
      proxy: { httpsProxy: 'https://p', noProxy: ['a'] },
    },
    storage: {
      disks: [{ device: '/dev/sda', wipeTable: true, partitions: [{ number: 1, label: 'a', sizeMiB: 10 }] }],
      raid: [{ name: 'r', level: 'raid1', devices: ['/dev/a', '/dev/b'] }],
      filesystems: [{ device: '/dev/disk/by-label/x', format: 'xfs', path: '/var', mountOptions: ['noatime'] }],
      luks: [{ name: 'l', device: '/dev/b', clevis: { tpm2: true } }],
      files: [
        {
          path: '/a',
          mode: 384,
          overwrite: true,
          user: { id: 0 },
          group: { name: 'root' },
          contents: { source: 'data:;base64,QQ==' },
        },
      ],
      directories: [{ path: '/d', mode: 448 }],
      links: [{ path: '/l', target: '../a', hard: false }],
    },
    systemd: {
      units: [
        {
          name: 'a@b.service',
          enabled: true,
          contents: '[Install]\nWantedBy=multi-user.target\n',
          dropins: [{ name: '10-a.conf', contents: '' }],
        },
        { name: 'b.timer', mask: true },
      ],
    },
    passwd: {
      users: [{ name: 'core', sshAuthorizedKeys: ['ssh-ed25519 AAAA'], groups: ['sudo'] }],
      groups: [{ name: 'g', gid: 1000 }],
    },
    kernelArguments: { shouldExist: ['quiet'], shouldNotExist: ['debug'] },
  }
  assert.equal(checkIgnition(parseIgnition(YAML.stringify(config))), [])
})
