import * as assert from 'uvu/assert'
import { checkIgnition } from '../../src/documents/ignition.ts'
import type { IgnitionConfig } from '../../src/documents/ignition-schema.ts'
import { lintTemplate } from '../../src/documents/lint.ts'
import { lintAgain } from '../../src/documents/lint-again.ts'
import { ProfileSpec } from '../../src/documents/profile.ts'
import { type Config, fileOf } from '../shell/ignition-node.ts'
import { refused } from '../shell/refused-documents.ts'
import { suite } from '../suite.ts'
import { builtins, documents, partsOf } from './parts.ts'

const test = suite('lint of what a box takes when it claims again')

const config = () => JSON.parse(documents.compose(partsOf('builtin:fcos', 'agent')).rendered.body) as Config
const lint = (one: Config) => lintAgain(one as unknown as IgnitionConfig).map(({ message }) => message.split(' ', 1)[0])

test('warns of whatever a box would refuse, unless that is an error already', () => {
  for (const [what, , spoil] of refused) {
    // A template that does not write them says so by lintNeeds.
    if (what.startsWith('without ') && what !== 'without a mode') continue
    const one = config()
    spoil(one)
    assert.ok(checkIgnition(one).length + lint(one).length > 0, what)
  }
})

test('names the file', () => {
  const one = config()
  fileOf(one, '/etc/rancher/k3s/token').contents = { source: 'data:,token' }
  assert.equal(lint(one), ['/etc/rancher/k3s/token'])
})

test('says nothing of files that a box leaves alone, nor of null', () => {
  const one = config()
  one.storage.files.push({ path: '/etc/motd', contents: { source: 'data:,hello' }, append: [] })
  Object.assign(fileOf(one, '/etc/rollcall/node.env'), { user: { id: 0 }, group: null, append: null })
  assert.equal(lint(one), [])
})

test('warns in the lint of a profile with an own template', () => {
  const source = builtins.documents['builtin:fcos'].replace(
    '- path: /etc/rancher/node/password\n',
    '$&      user: {id: 1000}\n',
  )
  const spec = ProfileSpec.parse({ name: 'p', document: 'ignition', role: 'agent', template: { source } })
  assert.equal(
    lintTemplate(spec, builtins).map(
      ({ severity, code, message }) => `${severity} ${code} ${message.split(' ', 1)[0]}`,
    ),
    ['warning not_taken_again /etc/rancher/node/password'],
  )
})
