import * as assert from 'uvu/assert'
import { checkRegistries, ownRegistries } from '../../src/k3s/registries.ts'
import { suite } from '../suite.ts'

const test = suite('registries.yaml')

const good = `mirrors:
  docker.io:
    endpoint: ["https://registry.example.net:5000"]
    rewrite: {"^rancher/(.*)": "mirror/$1"}
  "*":
configs:
  registry.example.net:5000:
    auth: {username: puller, password: "s3cret"}
    tls: {ca_file: /etc/ssl/registry.pem}
`

const refused: [string, string, RegExp][] = [
  ['what is no YAML', 'mirrors: [', /no YAML/],
  ['a list', '- docker.io', /expected object/],
  ['nothing', '', /expected object/],
  ['a key twice', 'mirrors: {}\nmirrors: {}', /no YAML/],
  ['a member that K3s does not know', 'mirror: {}', /no member mirror/],
  ['an endpoint that is no URL', 'mirrors: {docker.io: {endpoint: [registry.example.net]}}', /http or https URL/],
  ['a password that YAML reads as a number', 'configs: {r.test: {auth: {password: 123456}}}', /expected string/],
  [
    'a bomb of aliases',
    `a: &a [x]\n${[...'bcdefghi'].map((k, i) => `${k}: &${k} [${`*${'abcdefgh'[i]},`.repeat(9)}]`).join('\n')}`,
    /aliases|no member/,
  ],
]
for (const [what, yaml, words] of refused) {
  test(`refuses ${what}`, () => {
    const errors = checkRegistries(yaml)
    assert.ok(errors.length > 0)
    assert.match(errors.map(({ path, reason }) => `${path} ${reason}`).join('\n'), words)
    assert.ok(errors.every(({ path }) => path.startsWith('registries')))
  })
}

test('no refusal repeats what it holds', () => {
  const errors = checkRegistries('configs: {r.test: {auth: {password: [s3cret]}, tls: {insecure_skip_verify: s3cret}}}')
  assert.is(errors.length, 2)
  assert.not.match(JSON.stringify(errors), /s3cret/)
})

test('takes one that K3s can use', () => {
  assert.equal(checkRegistries(good), [])
})

test('the own registries are what mirrors lead to and the default one, not what is mirrored', () => {
  assert.equal([...ownRegistries(good, 'registry.lan')], ['registry.example.net:5000', 'registry.lan'])
  assert.equal([...ownRegistries('', undefined)], [])
})
