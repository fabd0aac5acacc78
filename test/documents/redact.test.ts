import * as assert from 'uvu/assert'
import { compileDocument } from '../../src/documents/compile.ts'
import { roles } from '../../src/documents/profile.ts'
import { redactBody, redactInput } from '../../src/documents/redact.ts'
import { suite } from '../suite.ts'
import { builtins, documents, partsOf, systems } from './parts.ts'

const key = `-----BEGIN PRIVATE KEY-----\n${'k3y'.repeat(20)}\n${'s3cret'.repeat(8)}\n-----END PRIVATE KEY-----\n`

/** Everything of these documents that nobody may read later. */
const secrets = [
  'join-ticket_0123456789',
  'abcdef.0123456789abcdef',
  'report-token_0123456789',
  'node-credential_0123456789',
  'p%40ss%25word',
  'k3y'.repeat(20),
  's3cret'.repeat(8),
  documents.input(partsOf('builtin:debian', 'server')).secret.node_password,
]

const withKey = (...[template, role]: Parameters<typeof partsOf>) => {
  const parts = partsOf(template, role)
  const datastore = { ...parts.cluster.datastore, certfile: parts.cluster.datastore.cafile as string, keyfile: key }
  return { ...parts, cluster: { ...parts.cluster, datastore } }
}

const previewed = (parts: ReturnType<typeof partsOf>) =>
  compileDocument(parts.profile.spec, builtins).renderWhole(documents.previewInput(parts)).body

/** A file of a key in each form that a template may write it in. */
const bothWays = `#cloud-config
bootcmd:
  - {{#block 4}}
{{#each k3s.files}}
{{#place "0600" path}}
{{content}}
{{/place}}
{{/each}}
{{/block}}
final_message: {{#each k3s.files}}{{yaml content}}{{/each}}
`

const decoded = (body: string) =>
  body.replace(/"data:;base64,([^"]*)"/g, (_, data) => Buffer.from(data, 'base64').toString())

const test = suite('redacted documents')

test('keeps nothing of a template that encodes a secret in its own way', () => {
  const sources = [
    '{{yaml (b64 secret.join)}}',
    '{{yaml (b64 (concat "x" secret.join))}}',
    '{{yaml (b64 (concat "xy" secret.node "z"))}}',
  ]
  for (const value of sources) {
    const parts = partsOf({ source: `#cloud-config\nfinal_message: ${value}\n` }, 'server')
    const { input, rendered } = documents.compose(parts)
    assert.is(redactBody(input, rendered.body), undefined, value)
  }
})

for (const system of systems) {
  for (const role of roles) {
    test(`${system}, ${role}: shows what was sent, but no secret`, () => {
      const { input, rendered } = documents.compose(withKey(`builtin:${system}`, role))
      const text = decoded(redactBody(input, rendered.body) ?? '')
      for (const secret of secrets) assert.not(text.includes(secret), secret)
      assert.ok(text.includes('<report token>'))
      assert.ok(text.includes('<join token>'))
      assert.ok(text.includes("ROLLCALL_SERIAL='C02/7 #42'"))
      assert.is(text.includes('<datastore endpoint>'), role === 'server')
    })

    test(`${system}, ${role}: previews it with placeholders`, () => {
      const text = decoded(previewed(withKey(`builtin:${system}`, role)))
      for (const secret of secrets) assert.not(text.includes(secret), secret)
      assert.ok(text.includes('<node password>'))
      assert.is(text.includes('<private key>'), role === 'server')
    })
  }
}

test('hides whole private keys, however short their lines and wherever they stand', () => {
  const short = `-----BEGIN EC PRIVATE KEY-----\n${'sh0rt-line\n'.repeat(4)}x=\n-----END EC PRIVATE KEY-----\n`
  const parts = partsOf({ source: bothWays }, 'server')
  const both = `${parts.cluster.datastore.cafile}${short}`
  const input = {
    ...documents.input(parts),
    k3s: { ...documents.input(parts).k3s, files: [{ path: '/k', content: both }] },
  }
  const { body } = compileDocument(parts.profile.spec, builtins).render(input)
  assert.ok(body.includes('sh0rt'))
  for (const text of [
    redactBody(input, body),
    compileDocument(parts.profile.spec, builtins).render(redactInput(input)).body,
  ]) {
    for (const part of ['sh0rt', 'x=', 'BEGIN EC']) assert.not((text ?? part).includes(part), part)
    assert.ok(text?.includes('<private key>'))
  }
  assert.ok(redactBody(input, body)?.includes('-----BEGIN CERTIFICATE-----'))
})

test('hides a private key that a device or its profile brings', () => {
  const parts = partsOf({ source: '#cloud-config\nfinal_message: {{yaml device.note}}\n' }, 'agent')
  const input = documents.input({ ...parts, device: { ...parts.device, note: `a\n${key}b` } })
  const { body } = compileDocument(parts.profile.spec, builtins).render(input)
  assert.is(redactBody(input, body), '#cloud-config\nfinal_message: "a\\n<private key>\\nb"\n')
})

test('leaves a document without secrets as it was', () => {
  const { input } = documents.compose(partsOf('builtin:debian', 'agent'))
  const document = compileDocument(
    { document: 'cloud-init', template: { source: '#cloud-config\nhostname: a\n' } },
    builtins,
  )
  assert.is(redactBody(input, document.render(input).body), '#cloud-config\nhostname: a\n')
})
