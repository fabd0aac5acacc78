import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { suite } from '../suite.ts'
import { template } from './box.ts'

const [reader = ''] = /^json_lines\(\) \{\n[\s\S]*?^\}\n/m.exec(readFileSync(template('client.sh'), 'utf8')) ?? []

/** The awks that a device may have. One that is missing here is said, not passed over in silence. */
const awks = ['mawk', 'gawk', 'busybox awk'].filter((awk) => {
  const there = spawnSync('sh', ['-c', `${awk} 'BEGIN { exit 0 }'`]).status === 0
  if (!there) console.log(`${awk} is not installed: what reads JSON was not run under it`)
  return there
})

const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9]{0,6}$/).filter((text) => !(text in {}))
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom('\\', '"', '/', '\n', '\t', '{', ',', ':', 'a') }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 5, noNullPrototype: true }),
  ),
}))

type Line = [place: string, value: unknown]

function flat(value: unknown, place = ''): Line[] {
  if (typeof value !== 'object' || value === null) return [[place, value]]
  return Object.entries(value).flatMap(([key, member]) => flat(member, `${place}.${key}`))
}

for (const awk of awks) {
  const test = suite(`JSON, taken apart by ${awk}`, { timeout: 120_000 })
  const bin = mkdtempSync(join(tmpdir(), 'rollcall-awk-'))
  writeFileSync(join(bin, 'awk'), `#!/bin/sh\nexec ${awk} "$@"\n`)
  chmodSync(join(bin, 'awk'), 0o755)
  test.after(() => rmSync(bin, { recursive: true }))

  /** Its lines; undefined if it was refused. */
  function lines(text: string): Line[] | undefined {
    const env = { PATH: `${bin}:/usr/bin:/bin`, LC_ALL: 'C' }
    const { status, stdout } = spawnSync('sh', ['-c', `${reader}json_lines`], { input: text, env, encoding: 'utf8' })
    if (status !== 0) return undefined
    return stdout
      .split('\n')
      .slice(0, -1)
      .map((line): Line => {
        const at = line.indexOf('\t')
        const said = line.slice(at + 1)
        return [line.slice(0, at), JSON.parse(said.startsWith('"') ? `${said}"` : said)]
      })
  }

  test('refuses what is no JSON, or is none that documents have', () => {
    const texts = [
      '',
      ' ',
      '{',
      '[1',
      '"',
      '"a',
      '{"a"',
      '{"a":',
      '{"a":1',
      '{"a":1,',
      '{"a":1}}',
      '[]]',
      '[1}',
      '{"a":1]',
    ]
    const odd = [
      '[,]',
      '[1,]',
      '{,}',
      '{"a":1,}',
      '{"a" 1}',
      '{"a"::1}',
      '{a:1}',
      "['a']",
      '[1 2]',
      '["a""b"]',
      'nul',
      'truefalse',
    ]
    const bytes = [
      '[1.5]',
      '[1e3]',
      '[01]',
      '[+1]',
      '[-]',
      '["\\x"]',
      '["\\u12g4"]',
      '["a\nb"]',
      '["a\tb"]',
      '["a\0b"]',
      '[1]\0',
    ]
    const ours = [
      '{"a":1,"a":2}',
      '{"a":{"b":1,"b":1}}',
      '{"":1}',
      '{"a b":1}',
      '{"a\\u0062":1}',
      '{"a.b":1}',
      '{"1":1}',
    ]
    for (const text of [...texts, ...odd, ...bytes, ...ours]) assert.is(lines(text), undefined, JSON.stringify(text))
  })

  test('says each value and where it stands, however it is laid out', () => {
    fc.assert(
      fc.property(value, fc.constantFrom('', ' ', '\t', '\r\n'), (document, space) => {
        const text = JSON.stringify(document, null, space === '' ? undefined : ' ').replaceAll('\n ', `\n${space}`)
        assert.equal(lines(`${text}\n`), flat(document))
      }),
      { numRuns: 150 },
    )
  })

  test('what it takes after a byte was changed, lost or added is JSON, and says the same', () => {
    fc.assert(
      fc.property(
        value,
        fc.nat(),
        fc.constantFrom(0, 1),
        fc.constantFrom('', '"', '\\', ',', ':', '{', '}', '[', ']', ' ', '0', 'a', '\n', '\0'),
        (document, place, lost, added) => {
          const whole = JSON.stringify(document)
          const at = place % (whole.length + 1)
          // As it is sent: half of a surrogate pair is none.
          const text = Buffer.from(whole.slice(0, at) + added + whole.slice(at + lost)).toString()
          const taken = lines(text)
          if (taken !== undefined) assert.equal(taken, flat(JSON.parse(text)))
        },
      ),
      { numRuns: 300 },
    )
  })

  test('takes a document of a megabyte in a moment', () => {
    const files = Array.from({ length: 20 }, (_, n) => ({ path: `/etc/${n}`, source: 'QUJD'.repeat(13_000) }))
    const start = performance.now()
    assert.equal(lines(JSON.stringify({ files })), flat({ files }))
    assert.ok(performance.now() - start < 20_000)
  })
}
