import { readFileSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { slimScript } from '../../src/documents/slim-script.ts'
import { suite } from '../suite.ts'
import { template } from './box.ts'

const names = ['client.sh', 'rollcall-node.sh'] as const
const texts = Object.fromEntries(names.map((name) => [name, readFileSync(template(name), 'utf8')]))

const test = suite('the shell programs')

test('share one block, word for word: each must work alone', () => {
  const shared = names.map((name) => /^# >>> the same[\s\S]*^# <<< the same.*$/m.exec(texts[name] ?? '')?.[0] ?? name)
  assert.is(shared[0], shared[1])
})

test('are plain text that any document can carry', () => {
  for (const name of names) {
    const text = texts[name] ?? ''
    assert.not(/[^\n\x20-\x7e]/.test(text), name)
    assert.match(text, /^#!\/bin\/sh\n[\s\S]*[^\n]\n$/)
    assert.ok(statSync(template(name)).mode & 0o100, name)
  }
})

test('rollcall-node stays small: it travels in every document', () => {
  assert.ok(slimScript(texts['rollcall-node.sh'] ?? '').length < 14_000)
})
