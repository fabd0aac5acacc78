import * as assert from 'uvu/assert'
import { compileDocument } from '../../src/documents/compile.ts'
import { limits } from '../../src/documents/engine.ts'
import { AppError } from '../../src/errors.ts'
import { suite } from '../suite.ts'
import { builtins, documents, partsOf } from './parts.ts'

const input = documents.input(partsOf('builtin:debian', 'server'))

const compile = (source: string) => compileDocument({ document: 'cloud-init', template: { source } }, builtins)
const render = (body: string, more = {}) => compile(`#cloud-config\n${body}`).render({ ...input, ...more }).body

/** What a refusal tells: its reasons and their lines. */
function told(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    assert.instance(error, AppError)
    assert.is((error as AppError).code, 'invalid')
    return ((error as AppError).errors ?? []).map(({ line, reason }) => `${line ?? '-'}: ${reason}`).join('; ')
  }
  return 'nothing'
}

const test = suite('templates')

const refusedAtOnce: [what: string, source: string, why: RegExp][] = [
  ['a syntax error', '\n{{#if role}}', /^\d: syntax error/],
  ['a partial', 'a\n{{> x}}', /^2: partials/],
  ['a partial block', '{{#> x}}{{/x}}', /partials/],
  ['an inline partial', '{{#*inline "x"}}{{> x}}{{/inline}}', /inline partials/],
  ['a decorator', '{{* x}}', /decorators/],
  ['an unknown helper', '{{nope role}}', /there is no helper nope/],
  ['an unknown helper as argument', '{{yaml (nope role)}}', /there is no helper nope/],
  ['a block on a bare variable', '{{#role}}{{/role}}', /there is no helper role/],
  ['log', '{{log role}}', /there is no helper log/],
  ['lookup', '{{lookup this "constructor"}}', /there is no helper lookup/],
  ['the name that files are compiled to', '{{[file in place] "rollcall-node.sh"}}', /there is no helper/],
  ['the name that variables are compiled to', '{{[variable in place] role}}', /there is no helper/],
  ['a named argument', '{{yaml role a=1}}', /named arguments/],
  ['__proto__', '{{role.__proto__.x}}', /beyond plain data/],
  ['constructor', '{{#with device}}{{yaml constructor}}{{/with}}', /beyond plain data/],
  ['a tag without a name', '{{12}}', /names a variable/],
  ['a raw block', '{{{{if role}}}}{{{{/if}}}}', /^1: raw blocks/],
  ['4,000 helpers in each other', `a\n{{yaml ${'(concat '.repeat(4_000)}role${')'.repeat(4_000)}}}`, /^2: .* 32 deep/],
  ['the same between quotes', `{{yaml ")" ${'(concat ")" '.repeat(40)}role${')'.repeat(40)}}}`, /32 deep/],
  ['the same between brackets', `{{yaml ${'(concat [)] '.repeat(40)}role${')'.repeat(40)}}}`, /32 deep/],
  ['3,000 blocks in each other', `\n${'{{#if role}}\n'.repeat(3_000)}${'{{/if}}'.repeat(3_000)}`, /^34: .* 32 deep/],
  ['the same with ends in comments', '{{#if role}}{{! {{/if}}{{!-- {{/if}} --}}'.repeat(40), /32 deep/],
  ['the same with ends that are text', '{{#if role}}\\{{/if}}'.repeat(40), /32 deep/],
  ['40 conditions in a chain', `{{#if role}}${'{{else if role}}'.repeat(40)}{{/if}}`, /32 deep/],
  ['40 inverse blocks in each other', `${'{{~^if role}}'.repeat(40)}${'{{/if}}'.repeat(40)}`, /32 deep/],
  ['1,001 tags', '{{role}}\n'.repeat(1_001), /^1001: .* 1000 tags/],
  ['a tag of 120,000 words', `{{concat ${'1 '.repeat(120_000)}}}`, /20000 words/],
  ['100,000 blanks in a row', `a\n${' '.repeat(100_000)}x\n{{#if role}}{{/if}}`, /256 blanks/],
  ['a text that does not end', '{{yaml "(((}}', /syntax error/],
  ['a comment that does not end', '{{!-- (((}}', /syntax error/],
  ['more than 256 KiB', ' '.repeat(limits.source + 1), /256 KiB/],
]
for (const [what, source, why] of refusedAtOnce) {
  test(`refuses ${what} before anything is rendered`, () =>
    assert.match(
      told(() => compile(source)),
      why,
    ))
}

const refusedAtRender: [what: string, body: string, why: RegExp][] = [
  ['a variable that does not exist', 'hostname: {{nope}}', /nope/],
  ['one below another', 'hostname: {{device.nope}}', /nope/],
  ['one below one that does not exist', 'hostname: {{device.nope.deeper}}', /^2: "deeper" not defined$/],
  ["a helper's argument that does not exist", 'hostname: {{yaml device.nope}}', /^2: {{yaml}} was given a variable/],
  ['a condition that does not exist', '{{#if device.nope}}a: 1{{/if}}', /^2: {{if}} was given/],
  ['a list that does not exist', '{{#each device.nope}}a: 1{{/each}}', /^2: {{each}} was given/],
  ['a name that every object has', 'hostname: {{yaml device.toString}}', /was given a variable/],
  ['a file that does not exist', 'hostname: {{yaml (file "/etc/passwd")}}', /knows no file/],
  ['a block helper without its block', 'hostname: {{block 4}}', /is a block/],
  ['a bare list', 'packages: {{profile.packages}}', /wants a string/],
  ['a hundred million columns', 'hostname: {{indent 100000000 "a"}}', /^2: {{indent}} .*columns/],
  ['a block of as many', 'hostname: {{#block 100000000}}\na\n{{/block}}', /^2: {{block}} .*columns/],
  ['less than no columns', 'hostname: {{indent -1 "a"}}', /columns/],
  ['a list as a separator', 'hostname: {{join profile.packages profile.packages}}', /wants a string/],
  ['a list as a shell word', 'runcmd: [{{yaml (sh profile.packages)}}]', /wants a string/],
]
for (const [what, body, why] of refusedAtRender) {
  test(`refuses ${what}`, () =>
    assert.match(
      told(() => render(`${body}\n`)),
      why,
    ))
}

test('refuses more than 1 MiB of output', () => {
  const lines = '# {{server.ca}}\n'.repeat(10)
  const ca = 'x'.repeat(limits.output / 10)
  assert.match(
    told(() => render(lines, { server: { ...input.server, ca } })),
    /1 MiB/,
  )
})

const heavy = { list: Array.from({ length: 160 }, () => 'a'), text: 'x'.repeat(60_000) }
const each = (depth: number, inner: string): string =>
  depth === 0 ? inner : `{{#each @root.vars.list}}${each(depth - 1, inner)}{{/each}}`

const refusedForCost: [what: string, body: string, why: RegExp][] = [
  ['loops in loops', each(3, '#'), /^2: {{each}} makes .* 20000/],
  ['loops in loops over nothing', each(3, ''), /20000/],
  ['variables in loops', each(2, '{{@root.role}}'.repeat(10)), /20000/],
  ['a text of many', `# {{concat ${'vars.text '.repeat(20)}}}`, /{{concat}} makes more than 1 MiB/],
  ['a list of many', `# {{join vars.list (concat ${'vars.text '.repeat(2)})}}`, /{{join}} makes more than 1 MiB/],
  ['many texts in a block', `{{#if role}}${'{{vars.text}}'.repeat(20)}{{/if}}`, /{{if}} makes more than 1 MiB/],
  ['many texts that nobody sees', '{{#if (b64 vars.text)}}{{/if}}'.repeat(150), /8 MiB/],
]
for (const [what, body, why] of refusedForCost) {
  test(`refuses what would cost too much: ${what}`, () =>
    assert.match(
      told(() => render(`${body}\n`, { vars: heavy })),
      why,
    ))
}

test('takes 32 blocks and helpers in each other', () => {
  const [open, end] = ['{{#if role}}'.repeat(32), '{{/if}}'.repeat(32)]
  const value = `{{yaml ${'(concat '.repeat(32)}"a"${')'.repeat(32)}}}`
  assert.is(render(`${open}hostname: ${value}${end}\n`), '#cloud-config\nhostname: "a"\n')
  assert.is(render(`${open}${end}`.repeat(3).concat('hostname: a\n')), '#cloud-config\nhostname: a\n')
})

test('writes nothing for null', () => {
  assert.is(render('hostname: a{{vars.none}}\n', { vars: { none: null } }), '#cloud-config\nhostname: a\n')
})

test('says nothing of the values in a refusal', () => {
  const secret = { ...input.secret, join: 'the-secret: [' }
  const reason = told(() => render('hostname: {{secret.join}}\nruncmd: {{secret.join}}\n', { secret }))
  assert.match(reason, /no YAML/)
  assert.not.match(reason, /the-secret/)
  assert.is(
    told(() => render('hostname: {{secret.join.deeper}}\n', { secret })),
    '-: cannot be rendered',
  )
})

const refusedDocuments: [what: string, source: string, why: RegExp][] = [
  ['without the header', 'hostname: a\n', /first line must be #cloud-config/],
  ['with a blank line before it', '\n#cloud-config\nhostname: a\n', /first line/],
  ['that cloud-init takes for a mail', '#cloud-config\nfinal_message: "MIME-Version: 1.0"\n', /MIME/],
  ['that is no mapping', '#cloud-config\n- a\n', /no mapping/],
  ['with a key twice', '#cloud-config\nhostname: a\nhostname: b\n', /no YAML/],
  ['with a key twice, deep down', '#cloud-config\nusers: [{a: 1, b: {x: 1, "x": 2}}]\n', /DUPLICATE_KEY \(line 2/],
  ['with thousands of keys', `#cloud-config\n${'k: 1\n'.repeat(30_000)}`, /too many members/],
  ['with thousands of errors', `#cloud-config\na: ${'}'.repeat(30_000)}\n`, /too many members/],
  ['with lists in lists', `#cloud-config\na: ${'['.repeat(70)}${']'.repeat(70)}\n`, /too deep/],
  ['with blocks in blocks', `#cloud-config\n${'- '.repeat(9_000)}a\n`, /no YAML/],
  ['with a mistyped key', '#cloud-config\nhostnam: a\n', /no key hostnam/],
  ['with a number for a name', '#cloud-config\nhostname: 0123\n', /hostname/],
  ['with bare permissions', '#cloud-config\nwrite_files: [{path: /a, permissions: 0644}]\n', /quoted string/],
  ['with a relative path', '#cloud-config\nwrite_files: [{path: a}]\n', /absolute/],
  ['with a command that is no text', '#cloud-config\nruncmd: [[true]]\n', /runcmd/],
]
test('tells a hundred things wrong with a document, not thousands', () => {
  const keys = Array.from({ length: 500 }, (_, i) => `k${i}: 1\n`).join('')
  assert.is(told(() => compile(`#cloud-config\n${keys}`).render(input)).split(';').length, 100)
})

for (const [what, source, why] of refusedDocuments) {
  test(`refuses a document ${what}`, () =>
    assert.match(
      told(() => compile(source).render(input)),
      why,
    ))
}

test('writes values where they belong', () => {
  const vars = { list: ['a', 'b'], nested: { on: true } }
  const body = render(
    'packages: {{yaml vars.list}}\nruncmd:\n{{#each vars.list}}\n  - [echo, {{yaml this}}, {{yaml (concat @index)}}]\n{{/each}}\n',
    { vars: { ...vars, list: ['a', 'b'] } },
  )
  assert.match(
    told(() => body),
    /nothing/,
  )
  assert.is(body, '#cloud-config\npackages: ["a","b"]\nruncmd:\n  - [echo, "a", "0"]\n  - [echo, "b", "1"]\n')
})

test('takes a default where a device has none', () => {
  assert.is(render('timezone: {{yaml (default vars "tz" "UTC")}}\n', { vars: {} }), '#cloud-config\ntimezone: "UTC"\n')
  assert.is(
    render('timezone: {{yaml (default vars "tz" "UTC")}}\n', { vars: { tz: 'CET' } }),
    '#cloud-config\ntimezone: "CET"\n',
  )
  assert.is(
    render('timezone: {{yaml (default vars "toString" "UTC")}}\n', { vars: {} }),
    '#cloud-config\ntimezone: "UTC"\n',
  )
})

/** Templates that a skeleton must not be trusted with; rendered twice, so that a wrongly kept one would show. */
const awkward: [what: string, body: string][] = [
  ['a value inside a quoted scalar', "hostname: 'a{{yaml device.hostname}}b'\n"],
  ['a value inside a block', 'final_message: |\n  {{yaml device.note}}\n'],
  ['a value in a comment', 'hostname: a # {{yaml device.serial}}\n'],
  ['a value used twice by an alias', 'hostname: &a {{yaml device.hostname}}\nfqdn: *a\n'],
  ['a value that is thrown away', 'hostname: a\n{{#if (eq (yaml role) "x")}}fqdn: a{{/if}}\n'],
  ['a block in a flow', 'runcmd: [{{#block 4}}echo{{/block}}]\n'],
  ['a block with too few columns', 'runcmd:\n    - {{#block 2}}\necho\n{{/block}}\n'],
]
for (const [what, body] of awkward) {
  test(`renders the same with and without a skeleton: ${what}`, () => {
    const document = compile(`#cloud-config\n${body}`)
    const texts = ['a', "it's", 'a: b', '# c', '"']
    for (const text of [...texts, ...texts]) {
      const device = { ...input.device, hostname: text, serial: text, note: text }
      const [through, whole] = [document.render, document.renderWhole].map((way) => {
        try {
          return way({ ...input, device }).body
        } catch (error) {
          return (error as AppError).errors?.[0]?.reason
        }
      })
      assert.is(through, whole)
    }
  })
}
