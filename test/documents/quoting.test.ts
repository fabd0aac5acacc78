import { spawnSync } from 'node:child_process'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { dataUrl, hereDocument, shellWord, yamlBlock, yamlFlow } from '../../src/documents/quoting.ts'
import { suite } from '../suite.ts'
import { hostile } from './hostile.ts'

const parse = (text: string) => YAML.parse(text, { version: '1.1' })

/** What each shell of this machine says when it runs a script. */
const shells = ['sh', 'bash', 'busybox sh'].filter((shell) => spawnSync(`${shell} -c :`, { shell: true }).status === 0)
const run = (shell: string, script: string) => {
  const [command, ...args] = shell.split(' ') as [string, ...string[]]
  const { status, stdout, stderr } = spawnSync(command, args, { input: script, encoding: 'utf8' })
  assert.is(status, 0, stderr)
  assert.is(stderr, '')
  return stdout
}

const test = suite('quoting')

test('refuses what no node can be handed: NULs and half characters', () => {
  for (const text of ['\0', 'a\0b', '\ud800', 'a\udc00']) {
    for (const quote of [yamlFlow, shellWord, dataUrl, hereDocument, (t: string) => yamlBlock(t, 2)]) {
      assert.throws(
        () => quote(text),
        (e: Error) => e instanceof TypeError,
      )
    }
    assert.throws(() => yamlFlow({ deep: [{ [text]: 1 }] }))
    assert.throws(() => yamlFlow([text]))
  }
})

test('takes text that only looks like an escape', () => {
  for (const text of ['\\u0000', '\\\\u0000', '\\ud800', '\\\\\\ud800']) assert.is(parse(yamlFlow([text]))[0], text)
})

test('writes scalars that YAML reads back, alone, in a list and in a flow', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const scalar = yamlFlow(text)
      assert.not.match(scalar, /[\n\u007f-\u009f\u2028\u2029\ufeff]/)
      assert.is(parse(scalar), text)
      assert.equal(parse(`a:\n  - ${scalar}\n  - {b: ${scalar}, c: [${scalar}]}\n`), {
        a: [text, { b: text, c: [text] }],
      })
    }),
  )
})

test('writes any JSON so that YAML reads it back', () => {
  fc.assert(
    fc.property(fc.jsonValue({ depthSize: 'small' }), hostile, (value, text) => {
      const whole = [value, { text }]
      let flow: string
      try {
        flow = yamlFlow(whole)
      } catch {
        return
      }
      assert.equal(parse(`a: ${flow}\n`), { a: JSON.parse(JSON.stringify(whole)) })
    }),
  )
})

test('writes blocks that YAML reads back, below a key and below a dash', () => {
  const lines = fc.array(hostile, { minLength: 1, maxLength: 6 }).map((some) => `${some.join('\n')}\n`)
  fc.assert(
    fc.property(fc.oneof(hostile, lines), (text) => {
      assert.equal(parse(`a: ${yamlBlock(text, 1)}\nb: 1\n`), { a: text, b: 1 })
      assert.equal(parse(`a:\n  - ${yamlBlock(text, 4)}\n  - 1\n`), { a: [text, 1] })
    }),
  )
})

test('keeps plain text readable in a block', () => {
  assert.is(yamlBlock('set -eu\n\n  indented: "yes" \\ # %\n', 4), '|\n    set -eu\n\n      indented: "yes" \\ # %')
})

for (const shell of shells) {
  test(`writes words that ${shell} takes as they are`, () => {
    fc.assert(
      fc.property(fc.array(hostile, { minLength: 10, maxLength: 30 }), (texts) => {
        assert.equal(
          run(shell, `printf '%s\\0' ${texts.map(shellWord).join(' ')}\n`)
            .split('\0')
            .slice(0, -1),
          texts,
        )
      }),
      { numRuns: 20 },
    )
  })

  test(`writes here-documents that ${shell} takes as they are`, () => {
    fc.assert(
      fc.property(fc.array(hostile, { minLength: 5, maxLength: 15 }), (texts) => {
        const read = run(shell, texts.map((text) => `cat ${hereDocument(text)}printf '\\0'\n`).join(''))
        assert.equal(
          read.split('\0').slice(0, -1),
          texts.map((text) => `${text.replace(/\n+$/, '')}\n`),
        )
      }),
      { numRuns: 20 },
    )
  })
}

test('refuses a text that no shell would keep', () => {
  const lines = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'].map((letter) => `${letter}é`)
  assert.throws(() => hereDocument(lines.join('\n')), /every letter/)
})

test('ends a here-document with a line that is none of its own', () => {
  assert.is(hereDocument('a\nEOF\n'), "<<'EOF_'\na\nEOF\nEOF_\n")
  assert.is(hereDocument('mark', 'EOF'), "<<'EOF_'\nmark\nEOF_\n")
  assert.is(hereDocument('EOFé'), "<<'END'\nEOFé\nEND\n")
  assert.is(hereDocument('Eé\nEND'), "<<'A'\nEé\nEND\nA\n")
})

test('finds the end of a here-document in one look at the text', () => {
  const steps = Array.from({ length: 900 }, (_, i) => `EOF${'_'.repeat(i)}`).join('\n')
  assert.ok(hereDocument(steps).startsWith(`<<'EOF${'_'.repeat(900)}'\n`))
  assert.ok(hereDocument(`é\nEOF${'_'.repeat(200_000)}`).startsWith(`<<'EOF${'_'.repeat(200_001)}'\n`))
  assert.is(hereDocument(`${'\n'.repeat(200_000)}a\n`), `<<'EOF'\n${'\n'.repeat(200_000)}a\nEOF\n`)
})

test('writes data URLs that decode to the text', () => {
  fc.assert(
    fc.property(hostile, (text) => {
      const data = /^data:;base64,([A-Za-z0-9+/=]*)$/.exec(dataUrl(text))?.[1] as string
      assert.is(Buffer.from(data, 'base64').toString(), text)
    }),
  )
})
