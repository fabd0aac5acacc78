import * as assert from 'uvu/assert'
import { managedEndpoint, parseDatastoreAddress } from '../../src/k3s/datastore-address.ts'
import { suite } from '../suite.ts'

const test = suite('the address of the clusters’ PostgreSQL')

test('refuses what nodes could not call, and says why', () => {
  const wrong = {
    '': 'must be host:port, several with commas',
    'db:': 'must be host:port, several with commas',
    'db:0': 'has no port between 1 and 65535',
    'db:65536': 'has no port between 1 and 65535',
    'db.example,': 'must be host:port, several with commas',
    'user@db': 'must be host:port, several with commas',
    'postgres://db': 'must be host:port, several with commas',
    '-db': 'names no host: -db',
    '10.0.0.256': 'names no host: 10.0.0.256',
    '::1': 'must be host:port, several with commas',
    '[::g]:5432': 'must be host:port, several with commas',
    '[:::1]:5432': 'names no host: [:::1]',
    '[::1]:5432,[::2]:5432': 'has an IPv6 address among several hosts: give them names',
  }
  for (const [text, reason] of Object.entries(wrong)) assert.is(parseDatastoreAddress(text), reason, text)
})

test('takes names and addresses, with and without a port', () => {
  assert.equal(parseDatastoreAddress('DB.example'), [{ host: 'db.example', port: 5432 }])
  assert.equal(parseDatastoreAddress('[FD00::1]:6000'), [{ host: 'fd00::1', port: 6000 }])
  assert.equal(parseDatastoreAddress('a.example, 10.0.0.2:6000'), [
    { host: 'a.example', port: 5432 },
    { host: '10.0.0.2', port: 6000 },
  ])
})

test('becomes K3s’ endpoint, verified in full and with every port named', () => {
  const login = { role: 'k3s_n_1', password: 'n1%pw/@:x' }
  assert.is(
    managedEndpoint('db.example', login),
    'postgres://k3s_n_1:n1%25pw%2F%40%3Ax@db.example:5432/rollcall_k3s?sslmode=verify-full',
  )
  assert.is(
    managedEndpoint('a,b:6000', login),
    'postgres://k3s_n_1:n1%25pw%2F%40%3Ax@a:5432,b:6000/rollcall_k3s?sslmode=verify-full&target_session_attrs=read-write',
  )
  assert.is(
    managedEndpoint('[fd00::1]', { ...login, password: 'p' }),
    'postgres://k3s_n_1:p@[fd00::1]:5432/rollcall_k3s?sslmode=verify-full',
  )
})
