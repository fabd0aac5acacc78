import * as assert from 'uvu/assert'
import type { Builtin } from '../../src/documents/profile.ts'
import type { MirroredRelease } from '../../src/k3s/mirror-sources.ts'
import { type ComposeParts, documentComposer } from '../../src/services/compose-document.ts'
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
function input(which: Mirror, change: Record<string, unknown> = {}, template: Builtin = 'builtin:debian') {
  const parts = partsOf(template, 'agent')
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

const digest = `@sha256:${hash('d4')}`
/** K3s in a container, of a cluster with a registry of its own; `image` as the profile names it. */
function contained(image: string | undefined, cluster: Partial<ComposeParts['cluster']>, only = true) {
  const parts = partsOf('builtin:fcos', 'agent')
  const vars = { runtime: 'container', ...(image === undefined ? {} : { image }) }
  const composer = documentComposer({ settings, keys, mirror: mirror(only) }, builtins)
  const changed: ComposeParts = {
    ...parts,
    profile: { ...parts.profile, spec: { ...parts.profile.spec, vars } },
    cluster: {
      ...parts.cluster,
      ...cluster,
      pinned: { ...parts.cluster.pinned, files: { [images]: { sha256: hash('d4') } } } as typeof parts.cluster.pinned,
    },
  }
  return {
    document: () => composer.compose(changed).input.k3s,
    preview: () => composer.container('compose', changed).text,
  }
}
const registries = 'mirrors: {docker.io: {endpoint: ["https://registry.lan:5000/v2"]}}\n'

test("refuses K3s' image from a registry that is not the cluster's own, where nothing else may be named", () => {
  const shown = `docker.io/rancher/k3s:v1.36.3-k3s1${digest}`
  for (const { document, preview } of [
    contained(shown, {}),
    contained(shown, { registries }),
    contained(`rancher/k3s${digest}`, { registries }),
    contained(`registry.lan:5001/rancher/k3s${digest}`, { registries }),
    contained(undefined, { allowUnpinned: true }),
  ]) {
    refused(document, /the image of K3s would come from .*, and nothing may be named but this server/)
    refused(preview, /the image of K3s would come from/)
  }
})

test("takes K3s' image from the cluster's own registry, and from any where others may be named", () => {
  const own = `registry.lan:5000/rancher/k3s${digest}`
  assert.is(contained(own, { registries }).document().container?.image, own)
  assert.match(contained(own, { registries }).preview(), own)
  const byDefault = contained(undefined, {
    allowUnpinned: true,
    settings: { 'system-default-registry': 'registry.lan' },
  })
  assert.is(byDefault.document().container?.image, 'registry.lan/rancher/k3s:v1.36.3-k3s1')
  const anywhere = `docker.io/rancher/k3s${digest}`
  assert.is(contained(anywhere, {}, false).document().container?.image, anywhere)
})

test("K3s' script is not sent to its own repository for the SELinux policy where K3s comes from the mirror", () => {
  const { env } = input(mirror(false), {}, 'builtin:rocky').k3s.install
  assert.is(env.INSTALL_K3S_SKIP_SELINUX_RPM, 'true')
  const without = input(mirror(false, { ...release, version: 'v1.36.2+k3s1' }), {}, 'builtin:rocky').k3s.install
  assert.not.ok('INSTALL_K3S_SKIP_SELINUX_RPM' in without.env)
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
