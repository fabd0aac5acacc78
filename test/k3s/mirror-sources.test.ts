import * as assert from 'uvu/assert'
import { type MirroredRelease, mirrorSources } from '../../src/k3s/mirror-sources.ts'
import { suite } from '../suite.ts'

const test = suite('what a node installs from the mirror')
const version = 'v1.36.3+k3s1'
const prefix = 'https://rollcall.test/assets/k3s'
const [a, b, c, d, e] = ['a1', 'b2', 'c3', 'd4', 'e5'].map((two) => two.repeat(32)) as [
  string,
  string,
  string,
  string,
  string,
]

const held = (files: Record<string, string>): MirroredRelease => ({
  version,
  files: Object.fromEntries(Object.entries(files).map(([name, sha256]) => [name, { sha256, size: 1 }])),
})
const release = held({
  'install.sh': c,
  k3s: a,
  'k3s-arm64': b,
  'k3s-airgap-images-amd64.tar.zst': d,
  'k3s-airgap-images-amd64.tar': e,
  'sha256sum-amd64.txt': e,
})
const pinned = {
  version,
  artifacts: { amd64: { sha256: a }, arm: { sha256: b } },
  install_script: { sha256: c },
  files: { 'k3s-airgap-images-amd64.tar.zst': { sha256: d } },
}
const use = { release, prefix, pinned, allowUnpinned: false }
const refused = (change: Partial<Parameters<typeof mirrorSources>[0]>, words: RegExp) =>
  assert.throws(
    () => mirrorSources({ ...use, ...change }),
    (thrown: { code?: string; detail?: string }) => thrown.code === 'state_conflict' && words.test(thrown.detail ?? ''),
  )

test('refuses a file whose hash is not the one on record', () => {
  refused({ release: held({ 'install.sh': c, k3s: b }) }, /mirror's k3s .* not the one on record/)
  refused({ release: held({ 'install.sh': a, k3s: a }) }, /mirror's install.sh/)
  refused({ pinned: { ...pinned, files: { 'k3s-airgap-images-amd64.tar.zst': { sha256: a } } } }, /mirror's k3s-airgap/)
  refused({ allowUnpinned: true, release: held({ 'install.sh': c, k3s: b }) }, /not the one on record/)
})

test('refuses a file that has no hash on record, unless that was allowed', () => {
  refused({ pinned: { ...pinned, files: {} } }, /no hash of k3s-airgap-images-amd64.tar.zst on record/)
  refused({ pinned: undefined }, /no hashes on record/)
  const { script_sha256, binaries } = mirrorSources({ ...use, pinned: undefined, allowUnpinned: true })
  assert.is(script_sha256, c)
  assert.equal(
    binaries.map(({ arch, sha256 }) => [arch, sha256]),
    [
      ['amd64', a],
      ['arm64', b],
    ],
  )
})

test('refuses a mirror without the install script, or without any binary on record', () => {
  refused({ release: held({ k3s: a }) }, /holds no install.sh/)
  refused({ release: held({ 'install.sh': c, 'k3s-arm64': b }) }, /no hashes on record/)
})

test('names the mirror alone, and of the archives the smallest', () => {
  const files = `${prefix}/v1.36.3%2Bk3s1`
  assert.equal(mirrorSources(use), {
    script_url: `${files}/install.sh`,
    script_sha256: c,
    binaries: [{ arch: 'amd64', url: `${files}/k3s`, sha256: a }],
    images: [{ arch: 'amd64', url: `${files}/k3s-airgap-images-amd64.tar.zst`, sha256: d }],
    selinux: [],
  })
})

test('brings what an admin added: archives of images by architecture, the SELinux package by release', () => {
  const names = [
    'suc-images-amd64.tar.gz',
    'suc-images-arm64.tar.gz',
    'k3s-selinux-1.6-1.el9.noarch.rpm',
    'k3s-selinux-1.5-1.el9.noarch.rpm',
    'k3s-selinux-1.6-1.el8.noarch.rpm',
    'notes.txt',
  ]
  const added = Object.fromEntries(names.map((name) => [name, e]))
  const files = Object.fromEntries(names.map((name) => [name, { sha256: e }]))
  const found = mirrorSources({
    ...use,
    release: held({ 'install.sh': c, k3s: a, ...added }),
    pinned: { ...pinned, files },
  })
  const name = (url: string) => url.slice(url.lastIndexOf('/') + 1)
  assert.equal(
    found.images.map(({ arch, url }) => [arch, name(url)]),
    [['amd64', 'suc-images-amd64.tar.gz']],
  )
  assert.equal(found.selinux.map(({ release, url }) => [release, name(url)]).sort(), [
    ['el8', 'k3s-selinux-1.6-1.el8.noarch.rpm'],
    ['el9', 'k3s-selinux-1.6-1.el9.noarch.rpm'],
  ])
})
