import * as assert from 'uvu/assert'
import { lintTemplate } from '../../src/documents/lint.ts'
import { ProfileSpec, roles } from '../../src/documents/profile.ts'
import { suite } from '../suite.ts'
import { builtins, systems } from './parts.ts'

const lint = (source: string, more: object = {}) =>
  lintTemplate(
    ProfileSpec.parse({
      name: 'p',
      document: 'cloud-init',
      role: 'agent',
      template: { source: `#cloud-config\n${source}\n` },
      ...more,
    }),
    builtins,
  )
const told = (source: string, more: object = {}) =>
  lint(source, more)
    .map(({ severity, code, line }) => `${severity} ${code}${line === undefined ? '' : ` ${line}`}`)
    .join(', ')

const test = suite('template lint')

test('tells a path that cannot exist, in whichever branch it stands', () => {
  assert.is(
    told('{{#if role}}\nhostname: a\n{{else}}\nhostname: {{yaml device.nope}}\n{{/if}}'),
    'error unknown_variable 5',
  )
  assert.is(told('{{#each k3s.install.binaries}}\n# {{nope}}\n{{/each}}\nhostname: a'), 'error unknown_variable 3')
  assert.is(told('{{#each k3s.files as |file|}}\n# {{file.nope}}\n{{/each}}\nhostname: a'), 'error unknown_variable 3')
  assert.is(told('{{#with device}}\nhostname: {{yaml ../../role}}\n{{/with}}'), 'error unknown_variable 3')
  assert.is(told('hostname: {{yaml @index}}'), 'error unknown_variable 2')
  assert.is(told('hostname: {{yaml @root.nope}}'), 'error unknown_variable 2')
  assert.is(told('hostname: {{yaml role.deeper}}'), 'error unknown_variable 2')
})

test('tells a variable that only some devices have', () => {
  assert.is(told('hostname: {{yaml device.labels.site}}'), 'error perhaps_missing 2')
  assert.is(told('hostname: {{yaml vars.site}}'), 'error unknown_variable 2')
  assert.is(told('hostname: {{yaml vars.site}}', { vars: { site: 'a' } }), '')
  assert.is(told('hostname: {{yaml (default device.labels "site" "a")}}'), '')
})

test('follows loops, conditions and defaults', () => {
  const vars = { list: [{ a: 1 }], deep: { er: 'x' } }
  assert.is(
    told(
      '{{#each k3s.install.binaries}}\n# {{arch}} {{../role}} {{@index}} {{@root.role}}\n{{/each}}\nhostname: {{yaml vars.deep.er}}',
      { vars },
    ),
    '',
  )
  assert.is(told('{{#each vars.list as |item i|}}\n# {{item.a}} {{i}}\n{{/each}}\nhostname: a', { vars }), '')
  assert.is(
    told('{{#unless (eq role "server")}}\nhostname: {{yaml device.hostname}}\n{{else}}\nhostname: a\n{{/unless}}'),
    '',
  )
})

test('tells what does not compile, with its line', () => {
  assert.is(told('{{> part}}\n{{nope 1}}'), 'error partial 2, error unknown_helper 3')
})

test('tells what renders to no document, once for both roles', () => {
  assert.is(told('hostnam: a'), 'error unknown_key')
  assert.is(told('hostname: "'), 'error yaml')
})

test('warns of what is wrong for the other role alone', () => {
  assert.is(told('{{#if (eq role "server")}}\nhostnam: a\n{{else}}\nhostname: a\n{{/if}}'), 'warning unknown_key')
})

test('warns of what the installer reads and a copy of a built-in template does not write, and of nothing in a whole copy', () => {
  for (const system of systems) {
    for (const role of roles) {
      const document = system === 'fcos' || system === 'flatcar' ? 'ignition' : 'cloud-init'
      const copy = (source: string) =>
        lintTemplate(ProfileSpec.parse({ name: 'p', document, role, template: { source } }), builtins)
      const whole = builtins.documents[`builtin:${system}`]
      assert.equal(copy(whole), [], `${system} ${role}`)
      // As templates were before servers ran tasks.
      const old = whole.replace(/^.*secret\.node\}\}\n/m, '').replace(/^.*firewall\.ports.*\n/m, '')
      assert.equal(
        copy(old).map(({ severity, code, message }) => `${severity} ${code} ${message.split(' ', 1)[0]}`),
        ['warning not_written k3s.firewall.ports', ...(role === 'server' ? ['warning not_written secret.node'] : [])],
      )
    }
  }
})

test('refuses packages where there is nothing to install them with, and takes an own way of doing it', () => {
  for (const system of systems) {
    for (const role of roles) {
      const document = system === 'fcos' || system === 'flatcar' ? 'ignition' : 'cloud-init'
      const found = (template: object | string, packages: string[]) =>
        lintTemplate(ProfileSpec.parse({ name: 'p', document, role, template, packages }), builtins).map(
          ({ severity, code }) => `${severity} ${code}`,
        )
      const source = builtins.documents[`builtin:${system}`]
      for (const template of [`builtin:${system}`, { source }]) {
        assert.equal(found(template, ['open-iscsi']), document === 'ignition' ? ['error packages'] : [], system)
        assert.equal(found(template, []), [], system)
      }
    }
  }
  const source =
    'ignition: { version: 3.3.0 }\nstorage:\n  files:\n    - path: /etc/layers\n      contents: { source: {{dataUrl (join profile.packages " ")}} }'
  const own = { name: 'p', document: 'ignition', role: 'agent', template: { source }, packages: ['open-iscsi'] }
  assert.equal(lintTemplate(ProfileSpec.parse(own), builtins), [])
})

test('warns of values that are written bare', () => {
  assert.is(told('hostname: {{device.hostname}}'), 'warning unquoted_value')
  assert.is(told('runcmd:\n  - [echo, {{device.note}}]'), 'warning unquoted_value')
  assert.is(told('timezone: {{vars.tz}}', { vars: { tz: 'UTC' } }), 'warning unquoted_value')
  assert.is(told('runcmd:\n  - {{#block 4}}\necho {{sh device.note}} {{sh device.serial}}\n{{/block}}'), '')
})

test('tells a built-in template under the wrong kind of document', () => {
  const spec = ProfileSpec.parse({ name: 'p', document: 'ignition', role: 'agent', template: 'builtin:debian' })
  assert.equal(
    lintTemplate(spec, builtins).map(({ code }) => code),
    ['document'],
  )
})

for (const system of systems) {
  test(`finds nothing in builtin:${system}`, () => {
    const document = system === 'fcos' || system === 'flatcar' ? 'ignition' : 'cloud-init'
    for (const role of roles) {
      const spec = ProfileSpec.parse({ name: 'p', document, role, template: `builtin:${system}` })
      assert.equal(lintTemplate(spec, builtins), [])
    }
  })
}
