import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { archiveArchitecture, fileName, imageNames, parseSums } from '../../src/k3s/release.ts'
import { suite } from '../suite.ts'

const test = suite('the files of a release')
const hash = 'a1'.repeat(32)
const of = 'sha256sum-amd64.txt'

const refused: [string, string, RegExp][] = [
  ['nothing', '', /is no list/],
  ['an HTML page', '<!DOCTYPE html>\n<html>', /line 1/],
  ['a short hash', 'a1a1  k3s', /line 1/],
  ['upper-case digits, which sha256sum never writes', `${'A1'.repeat(32)}  k3s`, /line 1/],
  ['a path', `${hash}  ../../etc/passwd`, /names a path/],
  ['an absolute path', `${hash}  /etc/passwd`, /names a path/],
  ['a hidden file', `${hash}  .bashrc`, /names a path/],
  ['a backslash', `${hash}  a\\b`, /names a path/],
  ['two hashes of one file', `${hash}  k3s\n${'b2'.repeat(32)}  k3s`, /two hashes of k3s/],
  ['a list without end', `${hash}  k3s\n`.repeat(300), /is no list/],
]
for (const [what, text, words] of refused) {
  test(`refuses ${what}, and names the list`, () => {
    assert.throws(
      () => parseSums(text, of),
      (e: { code?: string; detail?: string }) =>
        e.code === 'invalid' && words.test(e.detail ?? '') && e.detail?.startsWith(of),
    )
  })
}

test('reads what sha256sum writes, in both modes and with either line end', () => {
  const sums = parseSums(`${hash}  k3s\r\n${hash} *k3s-airgap-images-amd64.tar\n\n`, of)
  assert.equal(
    [...sums],
    [
      ['k3s', hash],
      ['k3s-airgap-images-amd64.tar', hash],
    ],
  )
})

test('no name that passes leaves its directory', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (name) => {
      if (!fileName.test(name)) return true
      return !name.includes('/') && !name.includes('\\') && !name.startsWith('.') && encodeURI(name) === name
    }),
  )
})

test('knows an archive of images by the end of its name', () => {
  assert.equal(imageNames('arm64')[0], 'k3s-airgap-images-arm64.tar.zst')
  assert.is(archiveArchitecture('upgrade-images-amd64.tar.gz'), 'amd64')
  assert.is(archiveArchitecture('images-arm.tar'), 'arm')
  for (const name of [
    'k3s',
    'images.tar',
    'images-amd64.tar.xz',
    'images-riscv64.tar',
    'k3s-selinux-1.6-1.el9.noarch.rpm',
  ])
    assert.is(archiveArchitecture(name), undefined, name)
})
