import * as assert from 'uvu/assert'
import { binaryUrl, installEnv, installFrom } from '../../src/k3s/install.ts'
import { suite } from '../suite.ts'

const version = 'v1.36.3+k3s1'
const [a, b, c] = ['a1', 'b2', 'c3'].map((two) => two.repeat(32)) as [string, string, string]
const pinned = { version, artifacts: { amd64: { sha256: a }, arm64: { sha256: b } }, install_script: { sha256: c } }
const sources = {
  version,
  scriptUrl: 'https://mirror.example.net/{version}/install.sh',
  artifactUrl: 'https://mirror.example.net/k3s/',
  pinned,
  allowUnpinned: false,
}

const test = suite('what a node installs')

test('refuses what has no hash on record', () => {
  assert.throws(
    () => installFrom({ ...sources, pinned: undefined }),
    (e: { code?: string }) => e.code === 'state_conflict',
  )
  assert.throws(() => installFrom({ ...sources, pinned: { ...pinned, artifacts: {} } }))
})

test('leaves out an architecture without a hash', () => {
  assert.equal(installFrom(sources), {
    script_url: 'https://mirror.example.net/v1.36.3%2Bk3s1/install.sh',
    script_sha256: c,
    binaries: [
      { arch: 'amd64', url: 'https://mirror.example.net/k3s/v1.36.3%2Bk3s1/k3s', sha256: a },
      { arch: 'arm64', url: 'https://mirror.example.net/k3s/v1.36.3%2Bk3s1/k3s-arm64', sha256: b },
    ],
  })
})

test('keeps the hashes that are on record where unpinned code is allowed', () => {
  const install = installFrom({ ...sources, allowUnpinned: true })
  assert.equal(
    install.binaries.map(({ arch, sha256 }) => [arch, sha256]),
    [
      ['amd64', a],
      ['arm64', b],
      ['arm', ''],
    ],
  )
  assert.is(installFrom({ ...sources, pinned: undefined, allowUnpinned: true }).script_sha256, '')
})

test('names the 32-bit ARM binary as K3s does', () => {
  assert.is(binaryUrl('https://m', version, 'arm'), 'https://m/v1.36.3%2Bk3s1/k3s-armhf')
})

test('tells the script version, role and to leave the binary alone', () => {
  assert.equal(installEnv('debian', 'agent', version), {
    INSTALL_K3S_VERSION: version,
    INSTALL_K3S_EXEC: 'agent',
    INSTALL_K3S_SKIP_DOWNLOAD: 'binary',
  })
  assert.is(installEnv('flatcar', 'server', version).INSTALL_K3S_BIN_DIR, '/opt/bin')
  assert.is(installEnv('rocky', 'server', version).INSTALL_K3S_SELINUX_WARN, 'true')
})
