import * as assert from 'uvu/assert'
import { compareVersions, parseVersion } from '../../src/k3s/version.ts'
import { suite } from '../suite.ts'

const test = suite('K3s versions')

test('refuses what is no release of K3s', () => {
  for (const text of ['', '1.36.3+k3s1', 'v1.36.3', 'v1.36.3-k3s1', 'v1.36.3+rke2r1', 'v1.36.3+k3s1\n', 'v1.36+k3s1']) {
    assert.throws(
      () => parseVersion(text),
      (e: { code?: string }) => e.code === 'invalid',
      text,
    )
  }
})

test('orders numbers as numbers, candidates before their release, builds after it', () => {
  const ordered = [
    'v1.9.12+k3s1',
    'v1.36.3-rc1+k3s1',
    'v1.36.3-rc2+k3s1',
    'v1.36.3+k3s1',
    'v1.36.3+k3s2',
    'v1.36.3+k3s10',
    'v1.36.10+k3s1',
    'v1.100.0+k3s1',
  ]
  assert.equal([...ordered].reverse().sort(compareVersions), ordered)
  assert.is(compareVersions('v1.36.3+k3s1', 'v1.36.3+k3s1'), 0)
})
