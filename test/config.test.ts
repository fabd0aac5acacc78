import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { ConfigError, type ConfigSource, loadConfig } from '../src/config.ts'
import { suite } from './suite.ts'

const authority = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----'
const directory = mkdtempSync(join(tmpdir(), 'rollcall-config-'))
const load = (source: Partial<ConfigSource> = {}) => loadConfig({ flags: {}, env: {}, root: true, ...source })
const problems = (source: Partial<ConfigSource>): string[] => {
  try {
    load(source)
  } catch (error) {
    assert.instance(error, ConfigError)
    return (error as Error).message.split('\n')
  }
  return []
}
const file = (name: string, content: string) => {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

const test = suite('config')
test.after(() => rmSync(directory, { recursive: true }))

test('tells all problems at once', () => {
  const env = {
    ROLLCALL_HTTP_PORT: '65536',
    ROLLCALL_PUBLIC_URL: 'http://roll.example',
    ROLLCALL_LOG_LEVEL: 'loud',
    DATABASE_URL: 'mysql://x',
    ROLLCALL_TLS_CERT: join(directory, 'missing.pem'),
  }
  assert.equal(problems({ env, flags: { 'https-port': 'x', host: 'a b' } }), [
    `ROLLCALL_TLS_CERT: cannot read ${join(directory, 'missing.pem')} (ENOENT)`,
    '--host (ROLLCALL_HOST): must be a host name or an IP address',
    '--https-port (ROLLCALL_HTTPS_PORT): must be a port number, 0 to 65535',
    '--http-port (ROLLCALL_HTTP_PORT): must be a port number, 0 to 65535',
    '--database-url (DATABASE_URL): must begin with postgres:// (or be unset, for the embedded PostgreSQL)',
    'ROLLCALL_PUBLIC_URL: must begin with https://',
    'ROLLCALL_LOG_LEVEL: Invalid option: expected one of "trace"|"debug"|"info"|"warn"|"error"|"fatal"|"silent"',
  ])
})

test('refuses a public URL that is more than an origin', () => {
  for (const tail of ['/path', '/?a=b', '/#x']) {
    assert.equal(problems({ env: { ROLLCALL_PUBLIC_URL: `https://roll.example${tail}` } }), [
      'ROLLCALL_PUBLIC_URL: must be an origin: no path, query, user or password',
    ])
  }
  assert.is(problems({ env: { ROLLCALL_PUBLIC_URL: 'https://u:p@roll.example' } }).length, 1)
})

test('refuses a certificate without its key, and a secret given twice', () => {
  const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----'
  assert.equal(problems({ env: { ROLLCALL_TLS_CERT: pem } }), [
    'ROLLCALL_TLS_CERT and ROLLCALL_TLS_KEY: give both or neither',
  ])
  const env = { DATABASE_URL: 'postgres://a/b', DATABASE_URL_FILE: file('url', 'postgres://a/b') }
  assert.equal(problems({ env }), ['DATABASE_URL and DATABASE_URL_FILE: give one of them'])
})

test('refuses a private key where others are given the file, all of them at once', () => {
  const both = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\ny'
  const env = {
    ROLLCALL_DATASTORE_ADDRESS: 'db.example',
    ROLLCALL_DATASTORE_CA: both,
    ROLLCALL_TLS_CA_FILE: file('both.pem', both),
    ROLLCALL_TLS_NEXT_KEY: both,
  }
  assert.equal(problems({ env }), [
    'ROLLCALL_DATASTORE_CA: holds a private key, and everybody is given this file: give certificates alone',
    'ROLLCALL_TLS_CA: holds a private key, and everybody is given this file: give certificates alone',
    'ROLLCALL_TLS_NEXT_KEY: holds a private key: give its public half alone',
  ])
})

test('does not repeat what was meant for a key and is no PEM', () => {
  const env = { ROLLCALL_TLS_CERT: authority, ROLLCALL_TLS_KEY: 'MC4CAQAwBQYDK2VwBCIEIA' }
  assert.equal(problems({ env }), [
    'ROLLCALL_TLS_KEY: cannot read what is neither PEM nor a file (ENOENT)',
    'ROLLCALL_TLS_CERT and ROLLCALL_TLS_KEY: give both or neither',
  ])
})

test('has the defaults that scripts rely on', () => {
  const config = load()
  assert.is(config.dataDirectory, '/var/lib/rollcall')
  assert.is(config.sealingKeyFile, '/var/lib/rollcall/sealing.key')
  assert.is(config.httpsPort, 8443)
  assert.is(config.httpPort, 8080)
  assert.is(config.host, undefined)
  assert.is(config.databaseUrl, undefined)
  assert.equal(config.keep, { events: 400, audit: 0 })
  assert.equal(config.k3s, {
    scriptUrl: 'https://raw.githubusercontent.com/k3s-io/k3s/{version}/install.sh',
    artifactUrl: 'https://github.com/k3s-io/k3s/releases/download',
    mirror: 'auto',
  })
})

test('keeps its data in the home of who is not root', () => {
  assert.is(load({ root: false, env: { HOME: '/home/a' } }).dataDirectory, '/home/a/.local/state/rollcall')
  assert.is(load({ root: false, env: { HOME: '/home/a', XDG_STATE_HOME: '/x' } }).dataDirectory, '/x/rollcall')
})

test('lets flags win over the environment, and takes empty variables for unset ones', () => {
  const env = { ROLLCALL_HOST: '127.0.0.1', ROLLCALL_HTTPS_PORT: '', ROLLCALL_DATA_DIR: '/a' }
  const config = load({ env, flags: { host: '::1', 'data-dir': '/b' } })
  assert.is(config.host, '::1')
  assert.is(config.httpsPort, 8443)
  assert.is(config.sealingKeyFile, '/b/sealing.key')
})

test('reads secrets from files, and PEM from a path as well', () => {
  const certificate = file('c.pem', '-----BEGIN CERTIFICATE-----\nx\n')
  const key = file('k.pem', '-----BEGIN PRIVATE KEY-----\ny\n')
  const env = {
    DATABASE_URL_FILE: file('db', 'postgres://u:p@h/d\n'),
    ROLLCALL_TLS_CERT: certificate,
    ROLLCALL_TLS_KEY_FILE: key,
  }
  const config = load({ env })
  assert.is(config.databaseUrl, 'postgres://u:p@h/d')
  assert.equal(config.tls, {
    certificate: '-----BEGIN CERTIFICATE-----\nx',
    key: '-----BEGIN PRIVATE KEY-----\ny',
  })
})

test('writes URLs as origins', () => {
  const config = load({
    env: { ROLLCALL_PUBLIC_URL: 'https://Roll.Example:443/', ROLLCALL_K3S_SCRIPT_URL: 'https://m/' },
  })
  assert.is(config.publicUrl, 'https://roll.example')
  assert.is(config.k3s.scriptUrl, 'https://m')
})

test('cannot be changed once read', () => {
  const config = load()
  assert.throws(() => Object.assign(config, { host: 'x' }), /read only/)
  assert.throws(() => Object.assign(config.k3s, { scriptUrl: 'x' }), /read only/)
})

test('refuses managed datastores that nodes could not find, or not verify', () => {
  const address = { ROLLCALL_DATASTORE_ADDRESS: 'db.example' }
  const foreign = { DATABASE_URL: 'postgres://u@h/d' }
  assert.equal(problems({ env: { ROLLCALL_DATASTORE_NETWORKS: 'all' } }), [
    'ROLLCALL_DATASTORE_ADDRESS: managed datastores need it: what nodes call this PostgreSQL by',
  ])
  assert.equal(problems({ env: { ...address, ...foreign } }), [
    'ROLLCALL_DATASTORE_CA: nodes verify the PostgreSQL at DATABASE_URL by it: give its authority',
  ])
  assert.equal(
    problems({ env: { ...address, ...foreign, ROLLCALL_DATASTORE_CA: authority, ROLLCALL_DATASTORE_NETWORKS: 'all' } }),
    ['ROLLCALL_DATASTORE_NETWORKS: only opens the embedded PostgreSQL; for your own, see its pg_hba.conf'],
  )
  for (const networks of ['10.0.0.0', '10.0.0.0/33', 'fd00::/129', 'trust', '0.0.0.0/0/0', 'fe80::1%eth0/64']) {
    assert.equal(problems({ env: { ...address, ROLLCALL_DATASTORE_NETWORKS: networks } }), [
      'ROLLCALL_DATASTORE_NETWORKS: must be `all` or networks such as 10.20.0.0/16',
    ])
  }
  assert.equal(problems({ env: { ROLLCALL_DATASTORE_ADDRESS: 'db.example:99999' } }), [
    'ROLLCALL_DATASTORE_ADDRESS: has no port between 1 and 65535',
  ])
})

test('opens the embedded PostgreSQL where nodes are told to find it', () => {
  const env = { ROLLCALL_DATASTORE_ADDRESS: 'db.example', ROLLCALL_DATASTORE_NETWORKS: '10.0.0.0/8, fd00::/8' }
  const config = load({ env })
  assert.equal(config.datastore, { address: 'db.example', ca: undefined, networks: ['10.0.0.0/8', 'fd00::/8'] })
  assert.equal(config.postgres, { user: undefined, listen: '*', port: 5432 })
  assert.is(load({ env: { ...env, ROLLCALL_POSTGRES_LISTEN: '10.0.0.1' } }).postgres.listen, '10.0.0.1')
  assert.is(load({ env: { ...env, ROLLCALL_DATASTORE_ADDRESS: 'db.example:6000' } }).postgres.port, 6000)
  assert.is(load({ env: { ...env, ROLLCALL_POSTGRES_PORT: '7000' } }).postgres.port, 7000)
  assert.equal(load().postgres, { user: undefined, listen: '127.0.0.1', port: 0 })
  assert.is(load({ env: { ROLLCALL_DATASTORE_ADDRESS: 'db.example' } }).postgres.listen, '127.0.0.1')
})
