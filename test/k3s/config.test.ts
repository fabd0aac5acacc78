import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { configYaml } from '../../src/k3s/config.ts'
import { suite } from '../suite.ts'

const internal = (e: { code?: string }) => e.code === 'internal'

const test = suite('config.yaml')

test('refuses a key that kills an agent', () => {
  for (const key of ['tls-san', 'disable', 'datastore-endpoint', 'cluster-cidr', 'secrets-encryption']) {
    assert.throws(() => configYaml('agent', { [key]: 'x' }), internal, key)
  }
})

test("refuses a token in the file, and a server's way to another", () => {
  for (const key of ['token', 'agent-token', 'server'])
    assert.throws(() => configYaml('server', { [key]: 'x' }), internal, key)
  assert.throws(() => configYaml('agent', { token: 'x' }), internal)
})

test('refuses a value that YAML might read otherwise', () => {
  for (const text of ['a\nb', '\u0085', 'ä', '\u2028'])
    assert.throws(() => configYaml('server', { 'node-name': text }), internal)
})

test('refuses a key that is no flag', () => {
  for (const key of ['a: b\nc', 'A', '', '-a']) assert.throws(() => configYaml('server', { [key]: 'x' }), internal)
})

test('quotes every scalar, so that each reads back as the text it is', () => {
  assert.is(
    configYaml('server', { 'node-name': '0644', 'secrets-encryption': true, disable: ['traefik', '1e3'] }),
    'node-name: "0644"\nsecrets-encryption: "true"\ndisable:\n  - "traefik"\n  - "1e3"\n',
  )
})

test('reads back, whatever the values hold', () => {
  const text = fc.string({ unit: 'grapheme-ascii' })
  fc.assert(
    fc.property(text, fc.array(text, { minLength: 1 }), (one, many) => {
      const read = YAML.parse(configYaml('server', { 'node-name': one, disable: many }), { version: '1.1' })
      assert.equal(read, { 'node-name': one, disable: many })
    }),
  )
})
