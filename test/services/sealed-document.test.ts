import { randomBytes } from 'node:crypto'
import { constants, deflateRawSync } from 'node:zlib'
import * as assert from 'uvu/assert'
import { roles } from '../../src/documents/profile.ts'
import { redactBody, secretive } from '../../src/documents/redact.ts'
import { RenderedDocument } from '../../src/documents/rendered.ts'
import { documentComposer } from '../../src/services/compose-document.ts'
import { openDocument, sealDocument } from '../../src/services/sealed-document.ts'
import { openVault, sealingKey } from '../../src/store/seal.ts'
import { documents, partsOf, settings, systems } from '../documents/parts.ts'
import { wholeRow } from '../documents/whole-row.ts'
import { suite } from '../suite.ts'

const vault = openVault([sealingKey(randomBytes(32))])
const test = suite('a document kept for its retry')
const real = documentComposer({ settings, keys: { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32) } })

/** As it is read from its two rows. */
const stored = ({ sealed, shared }: ReturnType<typeof sealDocument>) => ({
  sealed,
  shared: shared && Buffer.from(shared.packed, 'base64'),
})

for (const template of ['builtin:debian', 'builtin:fcos'] as const) {
  test(`gives back the bytes of ${template}, and what hides its secrets`, () => {
    const { input, rendered } = documents.compose(partsOf(template, 'server'))
    const kept = openDocument(vault, 'enr_1', stored(sealDocument(vault, 'enr_1', secretive(input), rendered)))
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
  assert.ok(sealDocument(vault, 'enr_1', secretive(input), rendered).sealed.length < 2_500)
})

test('refuses a shared part that is not the one that it was sealed with, and to go without', () => {
  const { input, rendered } = real.compose(partsOf('builtin:debian', 'agent'))
  const { sealed, shared } = stored(sealDocument(vault, 'enr_1', secretive(input), rendered))
  const another = deflateRawSync('#!/bin/sh\nrm -rf /\n', { finishFlush: constants.Z_FULL_FLUSH })
  for (const part of [another, null]) {
    assert.throws(() => openDocument(vault, 'enr_1', { sealed, shared: part }), /shared part/)
  }
  assert.ok(openDocument(vault, 'enr_1', { sealed, shared }).body.equals(rendered.bytes))
})

for (const system of systems) {
  for (const role of roles) {
    test(`renders ${system}, ${role} through its skeleton: most of what it keeps was packed before`, () => {
      const { rendered } = real.compose(partsOf(`builtin:${system}`, role))
      assert.ok(rendered.packed().before.length > 1)
      assert.ok(4 * wholeRow(rendered.packed()).length < 3 * rendered.bytes.length)
    })

    test(`keeps the node's script of ${system}, ${role} once for all its devices`, () => {
      const { input, rendered } = real.compose(partsOf(`builtin:${system}`, role))
      const { sealed, shared } = sealDocument(vault, 'enr_1', secretive(input), rendered)
      const device = { id: 'dev_2', serial: 'SN-2', hostname: 'sn-2', labels: {}, vars: {}, note: 'another' }
      const other = real.compose(partsOf(`builtin:${system}`, role, { device })).rendered
      assert.is(sealDocument(vault, 'enr_2', secretive(input), other).shared?.hash, shared?.hash)
      assert.ok(sealed.length < wholeRow(rendered.packed()).length - 4_000)
      assert.ok(openDocument(vault, 'enr_1', stored({ sealed, shared })).body.equals(rendered.bytes))
    })
  }
}

test('keeps many secrets small, and a document of several stored blocks whole', () => {
  const { input } = documents.compose(partsOf('builtin:debian', 'server'))
  const secrets = secretive({ ...input, k3s: { ...input.k3s, registries: 'a line of it\n'.repeat(10_000) } })
  const rendered = new RenderedDocument('text/cloud-config', [randomBytes(100_000).toString('base64')])
  const { sealed } = sealDocument(vault, 'enr_1', secrets, rendered)
  assert.ok(sealed.length < rendered.bytes.length + 10_000)
  const kept = openDocument(vault, 'enr_1', { sealed, shared: null })
  assert.ok(kept.body.equals(rendered.bytes))
  assert.equal(kept.secrets, secrets)
})

test('opens what an earlier version kept: the whole input, packed together with the document', () => {
  const { input, rendered } = documents.compose(partsOf('builtin:debian', 'agent'))
  const earlier = deflateRawSync(`${JSON.stringify(input)}\n${rendered.body}`, { level: 1 })
  const kept = openDocument(vault, 'enr_1', { sealed: vault.seal('enrollments/enr_1/document', earlier), shared: null })
  assert.ok(kept.body.equals(rendered.bytes))
  assert.is(redactBody(kept.secrets, kept.body.toString()), redactBody(input, rendered.body))
})
