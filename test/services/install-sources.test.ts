import * as assert from 'uvu/assert'
import type { MirroredRelease } from '../../src/k3s/mirror-sources.ts'
import { documentComposer } from '../../src/services/compose-document.ts'
import type { Mirror } from '../../src/services/context.ts'
import { builtins, partsOf, settings } from '../documents/parts.ts'
import { suite } from '../suite.ts'

const test = suite('where documents say that K3s comes from')
const hash = (two: string) => two.repeat(32)
const images = 'k3s-airgap-images-amd64.tar.zst'
const release: MirroredRelease = {
  version: 'v1.36.3+k3s1',
  files: Object.fromEntries(
    [
      ['install.sh', 'c3'],
      ['k3s', 'a1'],
      [images, 'd4'],
    ].map(([name, two]) => [name, { sha256: hash(two as string), size: 1 }]),
  ),
}
const mirror = (only: boolean, held: MirroredRelease | undefined = release): Mirror => ({
  only,
  find: (version) => (version === held?.version ? held : undefined),
  file: () => undefined,
})
const keys = { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32) }

/** A document's input from a server with a mirror; the cluster has the hash of its images on record. */
function input(which: Mirror, change: Record<string, unknown> = {}) {
  const parts = partsOf('builtin:debian', 'agent')
  const pinned = { ...parts.cluster.pinned, files: { [images]: { sha256: hash('d4') } }, ...change }
  return documentComposer({ settings, keys, mirror: which }, builtins).input({
    ...parts,
    cluster: { ...parts.cluster, pinned: pinned as typeof parts.cluster.pinned },
  })
}
const refused = (run: () => unknown, words: RegExp) =>
  assert.throws(
    run,
    (e: { code?: string; detail?: string }) => e.code === 'state_conflict' && words.test(e.detail ?? ''),
  )

test('refuses a version that the mirror lacks, where nothing else may be named', () => {
  refused(() => input(mirror(true, { ...release, version: 'v1.36.2+k3s1' })), /not in this server's mirror/)
})

test('refuses mirrored images whose hash is not on record', () => {
  refused(() => input(mirror(false), { files: {} }), /no hash of k3s-airgap-images-amd64/)
})

test('names what the settings say while the mirror lacks the version', () => {
  const { k3s } = input(mirror(false, { ...release, version: 'v1.36.2+k3s1' }))
  assert.ok(k3s.install.script_url.startsWith(settings.k3s.installScriptUrl.split('{')[0] as string))
  assert.equal(k3s.images, [])
})

test('names this server alone once the mirror has it: no other host stands in the document', () => {
  const { k3s } = input(mirror(false))
  const prefix = `${settings.publicUrl}/assets/k3s/v1.36.3%2Bk3s1`
  assert.is(k3s.install.script_url, `${prefix}/install.sh`)
  assert.equal(k3s.install.binaries, [{ arch: 'amd64', url: `${prefix}/k3s`, sha256: hash('a1') }])
  assert.equal(k3s.images, [{ arch: 'amd64', url: `${prefix}/${images}`, sha256: hash('d4') }])
  const hosts = new Set(JSON.stringify({ ...k3s, config: '' }).match(/https?:\/\/[^/"]+/g))
  assert.equal([...hosts], [new URL(settings.publicUrl).origin])
})

test('brings registries.yaml to servers and agents', () => {
  const yaml = 'mirrors: {"*": {endpoint: ["https://registry.site-a.test"]}}\n'
  for (const role of ['server', 'agent'] as const) {
    const parts = partsOf('builtin:debian', role)
    const { k3s } = documentComposer({ settings, keys }, builtins).input({
      ...parts,
      cluster: { ...parts.cluster, registries: yaml },
    })
    assert.is(k3s.registries, yaml)
  }
})
