import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import type { Datastore } from '../../src/k3s/cluster.ts'
import { checkDatastore, datastoreConfig } from '../../src/k3s/datastore.ts'
import { postgresEndpoint } from '../../src/k3s/endpoint-postgres.ts'
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

for (const kind of ['managed', 'sqlite', 'embedded-etcd'] as const) {
  test(`refuses an endpoint or certificates for ${kind}, which takes none`, () => {
    assert.match(reasons({ kind, endpoint: good }).join(), /^datastore.endpoint: .* takes none$/)
    assert.is(reasons({ kind, cafile: certificate, certfile: certificate, keyfile: key }).length, 3)
    assert.equal(reasons({ kind }), [])
    assert.equal(datastoreConfig({ kind }), { keys: {}, files: [] })
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
  ['a bare # in the password', 'postgres://u:p#ss@h/db', /percent-encoded/],
  ['a bare / in the password', 'postgres://u:p/ss@h/db', /percent-encoded/],
  ['a bare [ in the password', 'postgres://u:p[ss@h/db', /percent-encoded/],
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

test('refuses a kind that needs an endpoint without one', () => {
  for (const kind of ['postgres', 'mysql', 'etcd'] as const) {
    assert.match(reasons({ kind }).join(), new RegExp(`^datastore.endpoint: ${kind} needs an endpoint$`))
  }
})

const refusedOthers: [kind: 'mysql' | 'etcd', endpoint: string, reason: RegExp][] = [
  ['mysql', 'postgres://u:p@h/db', /must start with mysql/],
  ['mysql', 'mysql://u:p@db.example.net:3306/site_a', /tcp\(host:3306\)/],
  ['mysql', 'mysql://tcp(h:3306)/db', /must read/],
  ['mysql', 'mysql://:p@tcp(h:3306)/db', /no user/],
  ['mysql', 'mysql://u:p@unix(/run/mysqld.sock)/db', /tcp\(host:3306\)/],
  ['mysql', 'mysql://u:p@tcp(h:3306)', /must read|tcp/],
  ['mysql', 'mysql://u:p@tcp(h:3306)/', /no database/],
  ['mysql', 'mysql://u:p@tcp(h:3306)/site-a', /letters, digits and _/],
  ['mysql', 'mysql://u:p@tcp(h:66000)/db', /port/],
  ['mysql', 'mysql://u:p@tcp(h:3306)/db?tls', /name=value/],
  ['mysql', 'mysql://u:pä@tcp(h:3306)/db', /ASCII/],
  ['etcd', 'http://h1:2379', /https/],
  ['etcd', 'https://h1:2379, https://h2:2379', /blank/],
  ['etcd', 'https://h1:2379,h2:2379', /https/],
  ['etcd', 'https://u:p@h1:2379', /login/],
  ['etcd', 'https://h1:2379/v3', /more than host and port/],
  ['etcd', 'https://h1:2379,https://h1:2379/', /twice/],
  ['etcd', Array.from({ length: 10 }, (_, i) => `https://h${i}:2379`).join(), /more than 9/],
]
for (const [kind, endpoint, reason] of refusedOthers) {
  test(`refuses ${kind} at ${endpoint.slice(0, 50)}`, () => {
    const [first] = checkDatastore({ kind, endpoint })
    assert.is(first?.path, 'datastore.endpoint')
    assert.match(first?.reason ?? '', reason)
  })
}

test('refuses what is no PEM, and a certificate without its key', () => {
  assert.match(reasons(postgres(good, { cafile: '/etc/ca.pem' })).join(), /cafile: must be PEM/)
  assert.match(reasons(postgres(good, { certfile: certificate })).join(), /keyfile: certfile and keyfile/)
  assert.match(reasons(postgres(good, { keyfile: key })).join(), /certfile: certfile and keyfile/)
})

test('takes what K3s takes', () => {
  assert.equal(reasons(postgres(good, { cafile: certificate, certfile: certificate, keyfile: key })), [])
  assert.equal(reasons(postgres('postgresql://u@[fd00::1]:5432/db')), [])
  assert.equal(
    reasons({
      kind: 'mysql',
      endpoint: 'mysql://k3s:p@:/(%ss@tcp([fd00::1]:3306)/site_a?tls=true',
      cafile: certificate,
    }),
    [],
  )
  assert.equal(reasons({ kind: 'mysql', endpoint: 'mysql://k3s@tcp(db)/site_a' }), [])
  assert.equal(reasons({ kind: 'etcd', endpoint: 'https://h1:2379,https://[fd00::2]:2379' }), [])
})

test('takes MySQL without its scheme, and gives K3s the scheme that it knows it by', () => {
  const bare = { kind: 'mysql', endpoint: 'user:pw@tcp(host:3306)/db' } as const
  assert.equal(reasons(bare), [])
  assert.equal(datastoreConfig(bare), { keys: { 'datastore-endpoint': `mysql://${bare.endpoint}` }, files: [] })
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
