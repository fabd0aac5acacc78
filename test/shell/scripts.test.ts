import { spawnSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { builtinTemplates } from '../../src/services/builtin-templates.ts'
import { suite } from '../suite.ts'
import { template } from './box.ts'

const names = ['client.sh', 'rollcall-node.sh', 'rollcall-server.sh'] as const
const texts = Object.fromEntries(names.map((name) => [name, readFileSync(template(name), 'utf8')]))

const test = suite('the shell programs')

test('share one block, word for word: each must work alone', () => {
  const shared = names
    .slice(0, 2)
    .map((name) => /^# >>> the same[\s\S]*^# <<< the same.*$/m.exec(texts[name] ?? '')?.[0] ?? name)
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

// K3s' last words, without secrets, are 750 of it, and reports that share a connection 450: without the former an admin must go to the box to learn that a password is wrong.
test('stay small: one of them travels in every document', () => {
  const { 'rollcall-agent.sh': agent = '', 'rollcall-node.sh': server = '' } = builtinTemplates().files
  assert.ok(agent.length < 19_000, `${agent.length}`)
  assert.ok(server.length < 29_000, `${server.length}`)
})

test('are one program on a server, and a part of it on an agent', () => {
  const { 'rollcall-agent.sh': agent = '', 'rollcall-node.sh': server = '' } = builtinTemplates().files
  for (const text of [agent, server]) {
    assert.not(text.includes('rollcall-server.sh'))
    assert.is(spawnSync('sh', ['-n'], { input: text }).status, 0)
    assert.is(text.split('#!/bin/sh').length, 2)
  }
  assert.match(server, /^redeem\(\) \{$/m)
  assert.match(server, /^tasks\(\) \{$/m)
  assert.not.match(agent, /^redeem\(\) \{$/m)
})
