import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { readNode, readRenewTime } from '../../src/k3s/node-record.ts'
import { suite } from '../suite.ts'

// Rows of a real K3s v1.36.3+k3s1: a Node made, Ready by its kubelet, Unknown once its lease had run out.
const rows = readFileSync(new URL('../fixtures/k3s-v1.36.3/kine-rows.tsv', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => line.split('\t'))
  .map(([id, name = '', , , , , , value = '']) => ({ id: Number(id), name, value: Buffer.from(value, 'hex') }))
const rowValue = (id: number) => rows.find((row) => row.id === id)?.value as Buffer
const node = rowValue(3196)
const lease = rowValue(3069)

const varint = (n: number): number[] => (n < 128 ? [n] : [(n % 128) | 128, ...varint(Math.floor(n / 128))])
const bytes = (field: number, value: Uint8Array | string) => {
  const content = Buffer.from(value)
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(content.length)]), content])
}
const object = (apiVersion: string, kind: string, raw: Uint8Array) =>
  Buffer.concat([Buffer.from('k8s\0'), bytes(1, Buffer.concat([bytes(1, apiVersion), bytes(2, kind)])), bytes(2, raw)])
const withStatus = (...parts: Buffer[]) => object('v1', 'Node', bytes(3, Buffer.concat(parts)))
const condition = (type: string, status: string) => bytes(4, Buffer.concat([bytes(1, type), bytes(2, status)]))

const test = suite('Node in kine')

test('refuses what is no Node', () => {
  for (const value of ['', 'k8s\0', 'k8s', '{"kind":"Node"}', 'k8s\0\xff\xff']) {
    assert.is(readNode(Buffer.from(value, 'latin1')), undefined, value)
  }
  assert.is(readNode(lease), undefined)
  assert.is(readRenewTime(node), undefined)
  assert.is(readNode(object('v2', 'Node', bytes(3, ''))), undefined)
  assert.is(readNode(object('v1', 'Node', bytes(2, ''))), undefined)
})

test('refuses lengths beyond the end, varints without an end, and groups', () => {
  const broken = [
    [0x22, 0xff, 0xff, 0xff, 0xff, 0x0f],
    [0x20, ...Array(11).fill(0xff)],
    [0x23, 0x24],
    [0x25, 1, 2, 3],
    [0x21, 1],
  ]
  for (const part of broken) assert.is(readNode(withStatus(Buffer.from(part))), undefined, part.join())
})

test('refuses a Node that is cut off anywhere, or says less than before', () => {
  const whole = readNode(node)
  for (let length = 0; length < node.length; length++) {
    const cut = readNode(node.subarray(0, length))
    if (cut) assert.equal(cut, whole, `${length}`)
  }
})

test('says something or nothing of any bytes, and never throws', () => {
  const edited = fc
    .array(fc.tuple(fc.nat(node.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    .map((edits) => {
      const changed = Buffer.from(node)
      for (const [at, byte] of edits) changed[at] = byte
      return changed
    })
  const framed = fc.uint8Array({ maxLength: 200 }).map((raw) => object('v1', 'Node', raw))
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array(), framed, edited), (value) => {
      const read = readNode(value)
      readRenewTime(value)
      return read === undefined || [true, false, null].includes(read.ready)
    }),
    { numRuns: 2_000 },
  )
})

test('takes the last of two ready conditions, and nothing but True and False for an answer', () => {
  assert.is(readNode(withStatus(condition('Ready', 'True'), condition('Ready', 'False')))?.ready, false)
  for (const status of ['Unknown', 'true', '', '__proto__', 'constructor']) {
    assert.is(readNode(withStatus(condition('Ready', status)))?.ready, null, status)
  }
  assert.is(readNode(withStatus(condition('MemoryPressure', 'True')))?.ready, null)
})

test('passes over fields that it does not know, of every kind', () => {
  const strange = Buffer.concat([
    Buffer.from([0xa0, 6, 1, 0xa1, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0xa5, 6, 1, 2, 3, 4]),
    bytes(999, 'x'),
  ])
  assert.is(readNode(withStatus(strange, condition('Ready', 'True'), strange))?.ready, true)
})

test("reads a real Node's life: not ready, given up, ready, given up again", () => {
  const life = rows
    .filter(({ name }) => name.startsWith('/registry/minions/'))
    .map(({ id, value }) => [id, readNode(value)?.ready, readNode(value)?.since])
  assert.equal(life, [
    [2858, false, 1795398188],
    [2860, false, 1795398188],
    [2862, false, 1795398188],
    [2983, null, 1795398243],
    [2984, null, 1795398243],
    [2985, null, 1795398243],
    [3067, true, 1795398278],
    [3068, true, 1795398278],
    [3194, null, 1795398333],
    [3196, null, 1795398333],
  ])
  assert.is(readNode(node)?.version, 'v1.36.3+k3s1')
})

test("reads its kubelet's last sign of life", () => {
  assert.is(readRenewTime(rowValue(2863)), 1795398188)
  assert.is(readRenewTime(lease), 1795398278)
})
