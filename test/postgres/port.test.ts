import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import * as assert from 'uvu/assert'
import { freePort, isFree } from '../../src/postgres/port.ts'
import { suite } from '../suite.ts'

const test = suite('a port for PostgreSQL')
let other: Server
let port: number

test.before(async () => {
  other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  port = (other.address() as { port: number }).port
})
test.after(() => {
  other.close()
})

test('is taken where it is at one of the addresses to listen at', async () => {
  for (const listen of ['127.0.0.1', 'localhost', '*', '127.0.0.2, 127.0.0.1']) {
    assert.is(await isFree(port, listen), false, listen)
  }
})

test('is free where nobody has it at these addresses, nor are there any', async () => {
  for (const listen of ['127.0.0.2', '']) assert.is(await isFree(port, listen), true, listen)
  assert.is(await isFree(await freePort(), '*'), true)
})

test('is not taken at an address that this machine does not have: PostgreSQL says that', async () => {
  assert.is(await isFree(port, '203.0.113.9'), true)
})
