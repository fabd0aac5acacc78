import assert from 'node:assert/strict'
import YAML from 'yaml'
import { RancherInstall } from '../../src/k3s/cluster.ts'
import { checkRancherImport, checkRancherInstall, rancherManifests } from '../../src/k3s/rancher.ts'
import { suite } from '../suite.ts'

const test = suite('Rancher')
const install = (change: object = {}) =>
  RancherInstall.parse({
    version: '2.15.1',
    cert_manager_version: 'v1.21.1',
    hostname: 'rancher.example.net',
    bootstrap_password: 'correct-horse-battery',
    ...change,
  })
const paths = (change: object, version = 'v1.36.3+k3s1') =>
  checkRancherInstall(install(change), version).map(({ path }) => path)

const url = 'https://rancher.example.net/base'
const imports = (change: object) =>
  checkRancherImport({ url, ...change }).map(({ path, reason }) => `${path}: ${reason}`)

test('refuses an import that has no way to its manifest, or two, or one that leads elsewhere', () => {
  assert.deepEqual(imports({}), ['rancher.import: give either a token or a manifest_url'])
  const manifest_url = 'https://rancher.example.net/v3/import/secret_c-1.yaml'
  assert.equal(imports({ token: 'token-a:b', manifest_url }).length, 1)
  const elsewhere = imports({ manifest_url: manifest_url.replace('.net', '.org') })
  assert.match(elsewhere.join(), /^rancher.import.manifest_url: is elsewhere \(rancher.example.org\)/)
  assert.doesNotMatch(elsewhere.join(), /secret_/)
  assert.match(imports({ url: 'https://a:b@rancher.example.net', token: 't' }).join(), /\.url: takes no user/)
  assert.match(imports({ token: 't', ca: 'none' }).join(), /\.ca: must be PEM/)
  assert.deepEqual(imports({ manifest_url }), [])
  assert.deepEqual(imports({ token: 'token-a:b' }), [])
})

test('refuses a Rancher that does not support the cluster’s Kubernetes, unless the admin insists', () => {
  assert.deepEqual(paths({ version: '2.14.3' }), ['rancher.install.version'])
  assert.deepEqual(paths({ version: '2.14.3', allow_unsupported: true }), [])
  assert.deepEqual(paths({ version: '2.99.0' }), ['rancher.install.version'])
  assert.deepEqual(paths({}, 'v1.33.9+k3s1'), ['rancher.install.version'])
  assert.deepEqual(paths({ hostname: 'Rancher_1' }), ['rancher.install.hostname'])
})

test('takes one that does, at both ends', () => {
  assert.deepEqual(paths({}), [])
  assert.deepEqual(paths({}, 'v1.34.1+k3s1'), [])
  assert.deepEqual(paths({ version: '2.12.3' }, 'v1.31.0+k3s1'), [])
})

test('a password of any printable characters stands in the values as it is', () => {
  const password = `!"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~`
  const documents = YAML.parseAllDocuments(rancherManifests(install({ bootstrap_password: password })))
  const values = documents.map((document) =>
    YAML.parse((document.toJS() as { spec: { valuesContent: string } }).spec.valuesContent),
  )
  assert.equal(values[1].bootstrapPassword, password)
  assert.deepEqual(values[0], { crds: { enabled: true } })
})
