import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { calculateJwkThumbprint } from 'jose'
import * as assert from 'uvu/assert'
import { ImportInput } from '../../src/roll/device-input.ts'
import { suite } from '../suite.ts'
import { Box, shells, template } from './box.ts'

const client = template('client.sh')
const nowhere = { url: 'https://127.0.0.1:1', pin: 'sha256//AAAA' }
const timeout = 120_000

for (const [name, shell] of shells) {
  const test = suite(`client.sh identity under ${name}`, { timeout })
  let box: Box

  test.before.each(() => {
    box = new Box(nowhere)
  })
  test.after.each(() => box.remove())

  const identity = () => box.run(shell, client, 'identity')
  const line = async () => JSON.parse((await identity()).stdout)
  const key = () => box.read('state/device.key')

  test('refuses a machine that tells no serial of its own, and says what to do', async () => {
    const placeholders = ['0000000', 'None', 'Default string', 'To be filled by O.E.M.', 'System Serial Number']
    for (const text of [
      ...placeholders,
      'Not Specified',
      '0123456789',
      '',
      '---',
      'a"b',
      'zwei  Leerzeichen',
      'é',
      'x'.repeat(65),
    ]) {
      box.write('dmi/product_serial', `${text}\n`)
      const { code, stdout, stderr } = await identity()
      assert.is(code, 1, text)
      assert.is(stdout, '')
      assert.match(stderr, 'ROLLCALL_SERIAL=')
    }
    assert.not(existsSync(box.path('state/device.key')))
  })

  test('refuses an override that is no serial', async () => {
    box.env.ROLLCALL_SERIAL = 'None'
    assert.is((await identity()).code, 2)
  })

  test('prints one line that an import takes, with the key that it keeps', async () => {
    const { code, stdout, stderr } = await identity()
    assert.is(code, 0, stderr)
    assert.is(stdout.split('\n').length, 2)
    const device = ImportInput.parse(JSON.parse(stdout))
    assert.is(device.serial, 'SN-0001')
    assert.equal(device.macs, ['02:00:00:00:00:0a'])
    assert.is(device.uuid, '4c4c4544-0042-3510-8056-b4c04f4e3232')
    assert.equal(Object.keys(device.identity?.jwk ?? {}).sort(), ['crv', 'kty', 'x', 'y'])
    assert.is((await identity()).stdout, stdout)
  })

  test('the key is for root alone, and nothing else is left beside it', async () => {
    await identity()
    assert.is(statSync(box.path('state')).mode & 0o777, 0o700)
    assert.is(statSync(box.path('state/device.key')).mode & 0o777, 0o600)
    assert.equal(readdirSync(box.path('state')).sort(), ['device.bind', 'device.key'])
    assert.equal(readdirSync(box.path('run')), [])
  })

  test('looks for the serial in SMBIOS, the device tree, the board and the chassis, in this order', async () => {
    box.write('dmi/product_serial', 'Default string\n')
    box.write('dmi/chassis_serial', ' CH-4 \n')
    assert.is((await line()).serial, 'CH-4')
    box.write('dmi/board_serial', 'BO/3 a\n')
    assert.is((await line()).serial, 'BO/3 a')
    box.write('tree/serial-number', '10000000abcdef12\0')
    assert.is((await line()).serial, '10000000abcdef12')
    box.write('dmi/product_serial', 'SN-1\n')
    assert.is((await line()).serial, 'SN-1')
    box.env.ROLLCALL_SERIAL = ' mine & yours '
    assert.is((await line()).serial, 'mine & yours')
  })

  test('leaves out what the maker did not set', async () => {
    box.write('dmi/product_uuid', '00000000-0000-0000-0000-000000000000\n')
    box.write('net/eth0/address', '00:00:00:00:00:00\n')
    const { serial, macs, uuid } = await line()
    assert.equal({ serial, macs, uuid }, { serial: 'SN-0001', macs: [], uuid: undefined })
  })

  test('a disk from another machine: its key is set aside, loudly, and a new one made', async () => {
    await identity()
    const old = key()
    box.write('state/applied', 'enr_1\n')
    box.write('state/steps/enr_1/k3s.ready', '')
    box.write('dmi/product_serial', 'SN-0002\n')
    const { code, stderr } = await identity()
    assert.is(code, 0)
    assert.match(stderr, 'THIS DISK COMES FROM ANOTHER MACHINE')
    assert.match(stderr, 'serial=SN-0001')
    assert.is(box.read('state/device.key.other-1'), old)
    assert.is.not(key(), old)
    assert.equal(readdirSync(box.path('state')).sort(), ['device.bind', 'device.key', 'device.key.other-1'])
    box.write('dmi/product_uuid', '4c4c4544-0042-3510-8056-b4c04f4e9999\n')
    await identity()
    assert.ok(existsSync(box.path('state/device.key.other-2')))
  })

  test('check does as much before cloud-init starts, and nothing on the same machine', async () => {
    await identity()
    const old = key()
    box.write('state/applied', 'enr_1\n')
    assert.is((await box.run(shell, client, 'check')).code, 0)
    assert.is(key(), old)
    assert.ok(existsSync(box.path('state/applied')))
    box.write('dmi/product_serial', 'SN-0002\n')
    assert.is((await box.run(shell, client, 'check')).code, 0)
    assert.not(existsSync(box.path('state/applied')))
    assert.is.not(key(), old)
  })

  test('a key that an admin put there is bound to this machine and used', async () => {
    await identity()
    const old = key()
    const other = new Box(nowhere)
    other.write('state/device.key', old, 0o644)
    const { stdout } = await other.run(shell, client, 'identity')
    assert.equal(JSON.parse(stdout).identity, (await line()).identity)
    assert.is(statSync(other.path('state/device.key')).mode & 0o777, 0o600)
    other.remove()
  })

  test('a key that is none is not overwritten', async () => {
    box.write('state/device.key', 'not a key\n')
    const { code, stderr } = await identity()
    assert.is(code, 1)
    assert.match(stderr, 'is no P-256 key')
    assert.is(key(), 'not a key\n')
  })

  test('shows the thumbprint of RFC 7638', async () => {
    const { jwk } = (await line()).identity
    const running = box.start(shell, client, 'claim')
    while (!running.stderr().includes('calling in')) await new Promise((done) => setTimeout(done, 10))
    const { stderr } = await running.kill()
    assert.match(stderr, `key ${await calculateJwkThumbprint(jwk)}: calling in`)
  })

  test('turns any DER signature into the 64 bytes of a JWS', async () => {
    const integers = fc.uint8Array({ minLength: 1, maxLength: 32 }).filter((bytes) => bytes[0] !== 0)
    const samples = fc.sample(fc.tuple(integers, integers), 60)
    samples.push([new Uint8Array([1]), new Uint8Array(32).fill(255)], [new Uint8Array([128]), new Uint8Array([127])])
    for (const [i, [r, s]] of samples.entries()) writeFileSync(box.path(`${i}.der`), der(r, s))
    box.write(
      'all.sh',
      `eval "$(sed -n '/^raw()/,/^}/p' ${client})"\nfor i in "$BOX"/*.der; do raw "$i" >"$i.raw"; done\n`,
    )
    assert.is((await box.run(shell, box.path('all.sh'))).stderr, '')
    for (const [i, [r, s]] of samples.entries()) {
      const expected = Buffer.concat([padded(r), padded(s)]).toString('hex')
      assert.is(Buffer.from(box.read(`${i}.der.raw`, 'latin1'), 'latin1').toString('hex'), expected)
    }
  })
}

const padded = (bytes: Uint8Array) => Buffer.concat([Buffer.alloc(32 - bytes.length), bytes])

function der(r: Uint8Array, s: Uint8Array): Buffer {
  const integer = (bytes: Uint8Array) => {
    const value = (bytes[0] ?? 0) > 127 ? [0, ...bytes] : [...bytes]
    return [2, value.length, ...value]
  }
  const body = [...integer(r), ...integer(s)]
  return Buffer.from([0x30, body.length, ...body])
}
