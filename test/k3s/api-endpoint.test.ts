import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { apiEndpoint } from '../../src/k3s/api-endpoint.ts'
import { suite } from '../suite.ts'

const test = suite('api_endpoint')

const refused = [
  '',
  'k3s.example.net:6443',
  'http://k3s.example.net:6443',
  'https://',
  'https://:6443',
  'https://user@k3s.example.net:6443',
  'https://k3s.example.net:6443/path',
  'https://k3s.example.net:6443?a=b',
  'https://k3s.example.net:6443#a',
  'https://k3s.example.net:0',
  'https://k3s.example.net:65536',
  'https://k3s.example.net:',
  'https://k3s_a.example.net',
  'https://-a.example.net',
  'https://256.1.1.1',
  'https://1.2.3',
  'https://[fe80::1%25eth0]:6443',
  'https://[::g]:6443',
  'https://k3s.example.net:6443\n',
  `https://${'a'.repeat(64)}.net`,
]
for (const text of refused) {
  test(`refuses ${JSON.stringify(text).slice(0, 60)}`, () => {
    assert.throws(
      () => apiEndpoint(text),
      (e: { code?: string; errors?: { path: string }[] }) => {
        return e.code === 'invalid' && e.errors?.[0]?.path === 'api_endpoint'
      },
    )
  })
}

test('names the port, by default the one that K3s listens on', () => {
  assert.equal(apiEndpoint('https://K3S.Example.net'), {
    url: 'https://k3s.example.net:6443',
    host: 'k3s.example.net',
    port: 6443,
  })
  assert.is(apiEndpoint('https://lb.example.net:443/').url, 'https://lb.example.net:443')
})

test('gives tls-san the bare address', () => {
  assert.equal(apiEndpoint('https://[FD00::1]:6443'), { url: 'https://[fd00::1]:6443', host: 'fd00::1', port: 6443 })
  assert.is(apiEndpoint('https://10.0.0.1:6443').host, '10.0.0.1')
})

test('gives what it gave once more for what it gave', () => {
  fc.assert(
    fc.property(fc.domain(), fc.integer({ min: 1, max: 65_535 }), (host, port) => {
      const once = apiEndpoint(`https://${host}:${port}`)
      assert.equal(apiEndpoint(once.url), once)
    }),
  )
})
