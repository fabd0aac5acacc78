import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { readRelease } from '../../src/mirror/release-lists.ts'
import { directorySource } from '../../src/mirror/source.ts'
import { urlSource } from '../../src/mirror/url-source.ts'
import { fileServer } from '../fakes/file-server.ts'
import { type MadeRelease, makeRelease, version } from '../fakes/release.ts'
import { suite } from '../suite.ts'

const test = suite('what a release says of its files')
const folder = mkdtempSync(join(tmpdir(), 'rollcall-release-'))
test.after(() => rmSync(folder, { recursive: true }))

let count = 0
const fresh = () => makeRelease(join(folder, String(++count)))
const read = ({ directory }: MadeRelease) => {
  const source = directorySource(directory)
  return readRelease({ version, architectures: ['amd64', 'arm64', 'arm'], source, scripts: source })
}

const refusals: [string, (release: MadeRelease) => void, RegExp][] = [
  [
    'no list',
    (r) => {
      for (const arch of ['amd64', 'arm64']) rmSync(join(r.directory, `sha256sum-${arch}.txt`))
    },
    /is not there/,
  ],
  ['a list that is a page of HTML', (r) => r.write('sha256sum-amd64.txt', '<html>'), /sha256sum-amd64.txt line 1/],
  [
    'a list without the binary',
    (r) => r.write('sha256sum-amd64.txt', `${'a1'.repeat(32)}  k3s.txt\n`),
    /does not name k3s/,
  ],
  [
    'a list that leads out of its directory',
    (r) => r.write('sha256sum-amd64.txt', `${'a1'.repeat(32)}  ../k3s\n`),
    /names a path/,
  ],
  [
    'two lists that differ',
    (r) => r.write('sha256sum-amd64.txt', `${r.bytes('sha256sum-amd64.txt')}${'a1'.repeat(32)}  k3s-arm64\n`),
    /differ about k3s-arm64/,
  ],
  ['a list as long as a binary', (r) => r.write('sha256sum-amd64.txt', 'x'.repeat(70_000)), /larger than/],
  ['no install script', (r) => rmSync(join(r.directory, 'install.sh')), /install.sh is not there/],
  [
    'an install script that is not what its list says',
    (r) => r.write('install.sh', '#!/bin/sh\nevil\n'),
    /is not what install.sh.sha256sum/,
  ],
]
for (const [what, spoil, words] of refusals) {
  test(`refuses ${what}`, async () => {
    const release = fresh()
    spoil(release)
    const error = await read(release).catch((thrown) => thrown as Error)
    assert.instance(error, Error)
    assert.match((error as Error).message, words)
  })
}

test('reads the hashes of what is there, and whether a list vouches for the script', async () => {
  const release = fresh()
  const { spec, script } = await read(release)
  assert.equal(Object.keys(spec.artifacts).sort(), ['amd64', 'arm64'])
  assert.is(Object.keys(spec.files ?? {}).length, 6)
  assert.is(script.vouched, true)
  rmSync(join(release.directory, 'install.sh.sha256sum'))
  assert.is((await read(release)).script.vouched, false)
})

test('follows a server that leads elsewhere, as GitHub does', async () => {
  const server = await fileServer()
  try {
    const { directory, bytes } = fresh()
    for (const name of ['sha256sum-amd64.txt', 'install.sh']) server.files.set(`/r/${name}`, bytes(name))
    server.plan('/moved/sha256sum-amd64.txt', { redirect: '/r/sha256sum-amd64.txt' })
    const scripts = directorySource(directory)
    const source = urlSource(`${server.url}/moved`)
    assert.ok((await readRelease({ version, architectures: ['amd64'], source, scripts })).spec.artifacts.amd64)
  } finally {
    await server.close()
  }
})
