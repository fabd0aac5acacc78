import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { Datastore } from '../../src/k3s/cluster.ts'
import { checkDatastore, datastoreConfig, postgresEndpoint } from '../../src/k3s/datastore.ts'
import { suite } from '../suite.ts'

const certificate = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
const good = 'postgres://k3s:p%40ss@db.example.net:5432/site_a?sslmode=verify-full'
const postgres = (endpoint: string, more: Partial<Datastore> = {}): Datastore => ({
  kind: 'postgres',
  endpoint,
  ...more,
})
const reasons = (datastore: Datastore) => checkDatastore(datastore).map(({ path, reason }) => `${path}: ${reason}`)

const test = suite('datastores')

for (const kind of ['managed', 'mysql', 'etcd', 'embedded-etcd'] as const) {
  test(`refuses ${kind}, which comes later`, () => {
    assert.match(reasons({ kind }).join(), /^datastore.kind: .* comes later/)
  })
}

const refused: [why: string, endpoint: string, reason: RegExp][] = [
  ['another scheme', 'mysql://u:p@h/db', /must start with postgres/],
  ['no host', 'postgres://u:p@/db', /no URL|names no host/],
  ['no database', 'postgres://u:p@h:5432', /names no database/],
  ['an empty database', 'postgres://u:p@h:5432/', /names no database/],
  ['upper case in the database', 'postgres://u:p@h/Site', /upper-case/],
  ['upper case hidden in percent-encoding', 'postgres://u:p@h/%53ite', /upper-case/],
  ['a path below the database', 'postgres://u:p@h/a/b', /more than a database/],
  ['a bare @ in the password', 'postgres://u:p@ss@h/db', /more than one @/],
  ['a bare # in the password', 'postgres://u:p#ss@h/db', /no URL|%23/],
  ['a bare / in the password', 'postgres://u:p/ss@h/db', /no URL|database/],
  ['a bare % in the password', 'postgres://u:100%@h/db', /percent-encoding/],
  ['a space', 'postgres://u:p ss@h/db', /percent-encoded/],
  ['a line end', 'postgres://u:p@h/db\n', /percent-encoded/],
  ['a quote', 'postgres://u:p"@h/db', /percent-encoded/],
  ['a letter beyond ASCII', 'postgres://u:pä@h/db', /percent-encoded/],
  ['a name that is not UTF-8', 'postgres://u:p@h/%ff', /not UTF-8/],
]
for (const [why, endpoint, reason] of refused) {
  test(`refuses an endpoint with ${why}, and does not repeat it`, () => {
    const [first] = checkDatastore(postgres(endpoint))
    assert.is(first?.path, 'datastore.endpoint')
    assert.match(first?.reason ?? '', reason)
    assert.not.match(first?.reason ?? '', endpoint.slice('postgres://'.length, -3))
  })
}

test('refuses postgres without an endpoint, and sqlite with anything', () => {
  assert.match(reasons({ kind: 'postgres' }).join(), /needs an endpoint/)
  assert.is(reasons({ kind: 'sqlite', endpoint: good, cafile: certificate }).length, 2)
})

test('refuses what is no PEM, and a certificate without its key', () => {
  assert.match(reasons(postgres(good, { cafile: '/etc/ca.pem' })).join(), /cafile: must be PEM/)
  assert.match(reasons(postgres(good, { certfile: certificate })).join(), /keyfile: certfile and keyfile/)
  assert.match(reasons(postgres(good, { keyfile: key })).join(), /certfile: certfile and keyfile/)
})

test('takes what K3s takes', () => {
  assert.equal(reasons(postgres(good, { cafile: certificate, certfile: certificate, keyfile: key })), [])
  assert.equal(reasons(postgres('postgresql://u@[fd00::1]:5432/db')), [])
  assert.equal(reasons({ kind: 'sqlite' }), [])
})

test('names files for certificates and key, and carries their texts', () => {
  assert.equal(datastoreConfig(postgres(good, { cafile: certificate, certfile: certificate, keyfile: key })), {
    keys: {
      'datastore-endpoint': good,
      'datastore-cafile': '/etc/rancher/k3s/datastore-ca.pem',
      'datastore-certfile': '/etc/rancher/k3s/datastore-cert.pem',
      'datastore-keyfile': '/etc/rancher/k3s/datastore-key.pem',
    },
    files: [
      { path: '/etc/rancher/k3s/datastore-ca.pem', content: certificate },
      { path: '/etc/rancher/k3s/datastore-cert.pem', content: certificate },
      { path: '/etc/rancher/k3s/datastore-key.pem', content: key },
    ],
  })
  assert.equal(datastoreConfig({ kind: 'sqlite' }), { keys: {}, files: [] })
})

test('encodes any user and password so that they read back', () => {
  const text = fc.string({ unit: 'grapheme', minLength: 1 })
  fc.assert(
    fc.property(text, text, (user, password) => {
      const endpoint = postgresEndpoint({ user, password, host: 'fd00::1', port: 5432, database: 'site_a' })
      assert.equal(checkDatastore(postgres(endpoint)), [])
      const url = new URL(endpoint)
      assert.is(decodeURIComponent(url.username), user)
      assert.is(decodeURIComponent(url.password), password)
      assert.is(url.host, '[fd00::1]:5432')
    }),
  )
})
