import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { compareVersions, parseVersion, upgradeProblem } from '../../src/k3s/version.ts'
import { versionWarnings } from '../../src/k3s/version-warnings.ts'
import { suite } from '../suite.ts'

const test = suite('K3s versions')

const anyVersion = fc
  .record({
    minor: fc.integer({ min: 0, max: 60 }),
    patch: fc.integer({ min: 0, max: 30 }),
    rc: fc.option(fc.integer({ min: 1, max: 9 })),
    k3s: fc.integer({ min: 1, max: 12 }),
  })
  .map(({ minor, patch, rc, k3s }) => `v1.${minor}.${patch}${rc === null ? '' : `-rc${rc}`}+k3s${k3s}`)

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

const why = (from: string, to: string) => upgradeProblem(from, to) ?? ''

test('refuses an upgrade that skips a minor, goes back or goes nowhere, and says why', () => {
  assert.match(why('v1.34.9+k3s1', 'v1.36.0+k3s1'), /skips a minor version: go from v1.34.9\+k3s1 to v1.35 first/)
  assert.match(why('v1.36.3+k3s1', 'v1.36.2+k3s9'), /older/)
  assert.match(why('v1.36.3+k3s1', 'v1.36.3-rc2+k3s1'), /older/)
  assert.match(why('v1.36.3+k3s1', 'v1.36.3+k3s1'), /already/)
  assert.match(why('v1.36.3+k3s1', 'v2.0.0+k3s1'), /major/)
})

test('lets patches, builds and the next minor through', () => {
  for (const to of ['v1.36.3+k3s2', 'v1.36.10+k3s1', 'v1.37.0-rc1+k3s1', 'v1.37.11+k3s3']) {
    assert.is(upgradeProblem('v1.36.3+k3s1', to), undefined, to)
  }
})

test('no upgrade has a way back, and none is longer than one minor', () => {
  fc.assert(
    fc.property(anyVersion, anyVersion, (a, b) => {
      const allowed = upgradeProblem(a, b) === undefined
      if (!allowed) return true
      const step = parseVersion(b).minor - parseVersion(a).minor
      return upgradeProblem(b, a) !== undefined && compareVersions(a, b) < 0 && (step === 0 || step === 1)
    }),
  )
})

test('every newer version is reached by going minor by minor', () => {
  fc.assert(
    fc.property(anyVersion, anyVersion, (a, b) => {
      fc.pre(compareVersions(a, b) < 0)
      let here = a
      while (parseVersion(here).minor + 1 < parseVersion(b).minor) {
        const next = `v1.${parseVersion(here).minor + 1}.0+k3s1`
        if (upgradeProblem(here, next) !== undefined) return false
        here = next
      }
      return upgradeProblem(here, b) === undefined
    }),
  )
})

test('warns of pgbouncer and old tables where an admin brings the PostgreSQL, from the release on that has the fault', () => {
  assert.equal(versionWarnings('v1.35.5+k3s1', 'postgres'), [])
  assert.is(versionWarnings('v1.35.6+k3s1', 'postgres').length, 1)
  assert.is(versionWarnings('v1.36.3+k3s1', 'postgres').length, 2)
  assert.is(versionWarnings('v1.37.0+k3s1', 'postgres').length, 2)
  assert.equal(versionWarnings('v1.33.12+k3s1', 'postgres'), [])
  for (const kind of ['managed', 'sqlite', 'mysql', 'etcd', 'embedded-etcd'] as const) {
    assert.equal(versionWarnings('v1.36.3+k3s1', kind), [], kind)
  }
})
