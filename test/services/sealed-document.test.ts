import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { roles } from '../../src/documents/profile.ts'
import { redactBody, secretive } from '../../src/documents/redact.ts'
import { RenderedDocument } from '../../src/documents/rendered.ts'
import { documentComposer } from '../../src/services/compose-document.ts'
import { openDocument, sealDocument } from '../../src/services/sealed-document.ts'
import { openVault, sealingKey } from '../../src/store/seal.ts'
import { documents, partsOf, settings, systems } from '../documents/parts.ts'
import { suite } from '../suite.ts'

const vault = openVault([sealingKey(randomBytes(32))])
const test = suite('a document kept for its retry')

for (const template of ['builtin:debian', 'builtin:fcos'] as const) {
  test(`gives back the bytes of ${template}, and what hides its secrets`, () => {
    const { input, rendered } = documents.compose(partsOf(template, 'server'))
    const kept = openDocument(vault, 'enr_1', sealDocument(vault, 'enr_1', secretive(input), rendered))
    assert.ok(kept.body.equals(rendered.bytes))
    assert.is(redactBody(kept.secrets, kept.body.toString()), redactBody(input, rendered.body))
  })
}

test('keeps little of what all documents share', () => {
  const shared = `${'the same in all of them '.repeat(2_000)}\n`
  const { input, rendered } = documents.compose(
    partsOf(
      { source: `#cloud-config\nbootcmd:\n  - {{#block 4}}\n${shared}{{sh enrollment.id}}\n{{/block}}` },
      'agent',
    ),
  )
  assert.ok(rendered.bytes.length > 48_000)
  assert.ok(sealDocument(vault, 'enr_1', secretive(input), rendered).length < 2_500)
})

const real = documentComposer({ settings, keys: { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32) } })
for (const system of systems) {
  for (const role of roles) {
    test(`renders ${system}, ${role} through its skeleton: most of what it keeps was packed before`, () => {
      const { rendered } = real.compose(partsOf(`builtin:${system}`, role))
      assert.ok(rendered.packed().length > 2)
      assert.ok(4 * Buffer.concat(rendered.packed()).length < 3 * rendered.bytes.length)
    })
  }
}

test('keeps many secrets small, and a document of several stored blocks whole', () => {
  const { input } = documents.compose(partsOf('builtin:debian', 'server'))
  const secrets = secretive({ ...input, k3s: { ...input.k3s, registries: 'a line of it\n'.repeat(10_000) } })
  const rendered = new RenderedDocument('text/cloud-config', [randomBytes(100_000).toString('base64')])
  const sealed = sealDocument(vault, 'enr_1', secrets, rendered)
  assert.ok(sealed.length < rendered.bytes.length + 10_000)
  const kept = openDocument(vault, 'enr_1', sealed)
  assert.ok(kept.body.equals(rendered.bytes))
  assert.equal(kept.secrets, secrets)
})

test('opens what an earlier version kept: the whole input, packed together with the document', () => {
  const { input, rendered } = documents.compose(partsOf('builtin:debian', 'agent'))
  const earlier = deflateRawSync(`${JSON.stringify(input)}\n${rendered.body}`, { level: 1 })
  const kept = openDocument(vault, 'enr_1', vault.seal('enrollments/enr_1/document', earlier))
  assert.ok(kept.body.equals(rendered.bytes))
  assert.is(redactBody(kept.secrets, kept.body.toString()), redactBody(input, rendered.body))
})
