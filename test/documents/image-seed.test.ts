import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { makeSeed, stageOne } from '../../src/documents/image-seed.ts'
import { suite } from '../suite.ts'

const read = (name: string) => readFileSync(new URL(`../../templates/seed/${name}`, import.meta.url), 'utf8')
// Stands for client.sh, which has its own tests: the golden is to change with the seed alone.
const client = '#!/bin/sh\necho "client $1"\n'
const pins = `sha256//${'A'.repeat(43)}=;sha256//${'B'.repeat(43)}=`
const seed = makeSeed({ url: 'https://rollcall.example.net:8443', pins }, { read, client })

const test = suite('image seed')

test('puts no file where an image keeps secrets, and none that only root may read', () => {
  for (const { mode } of [...seed.files, seed.switch]) assert.is(mode & 0o044, 0o044)
})

test('enables units that it brings', () => {
  const units = seed.files.map(({ path }) => `/${path}`)
  for (const { target } of seed.links) assert.ok(units.includes(target), target)
})

test('stage one is cloud-config of one bootcmd, which runs at every boot', () => {
  const config = parse(stageOne(seed, read('stage-one.sh'))) as { bootcmd: string[] }
  assert.equal(Object.keys(config), ['bootcmd'])
  assert.is(config.bootcmd.length, 1)
})

test('stage one carries every file whole, the switch after all others', () => {
  const script = (parse(stageOne(seed, read('stage-one.sh'))) as { bootcmd: [string] }).bootcmd[0]
  const carried = [...script.matchAll(/rollcall_put (\S+) (\d+) <<'ROLLCALL'\n([\s\S]*?)\nROLLCALL$/gm)].map(
    (match) => ({
      path: match[1]?.slice(1),
      mode: Number.parseInt(match[2] ?? '', 8),
      content: Buffer.from(match[3] ?? '', 'base64').toString(),
    }),
  )
  assert.equal(carried, [...seed.files, seed.switch])
  assert.ok(script.lastIndexOf('ln -sf') < script.indexOf(`rollcall_put /${seed.switch.path}`))
})

// GOLDEN=write node test/run.mjs test/documents/image-seed.test.ts  writes it anew; the difference is reviewed as text.
test('stage one as it is delivered', () => {
  const file = fileURLToPath(new URL('../golden/stage-one.yaml', import.meta.url))
  const text = stageOne(seed, read('stage-one.sh'))
  if (process.env.GOLDEN === 'write') writeFileSync(file, text)
  assert.is(text, readFileSync(file, 'utf8'))
})
