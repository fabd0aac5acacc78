import { readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { parseClaim, parseJoinProof } from '../../src/identity/claim.ts'
import { importKey } from '../../src/identity/import-key.ts'
import { verifySignature } from '../../src/identity/verify.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { suite } from '../suite.ts'
import { shells, template } from './box.ts'
import { Node } from './node.ts'

const [shell = ['sh']] = shells.map(([, command]) => command)
const test = suite('what the shell programs send, as the server reads it', { timeout: 120_000 })
let server: DeviceServer
let node: Node

test.before(async () => {
  server = await DeviceServer.start()
  node = new Node(server)
})
test.after(async () => {
  node.remove()
  await server.close()
})

async function isTrue(proof: ReturnType<typeof parseClaim> | ReturnType<typeof parseJoinProof>): Promise<boolean> {
  if (proof.keySource.kind !== 'jwk') return false
  const key = importKey(proof.keySource.jwk)
  return key !== undefined && verifySignature(proof.header.alg, key, proof.signingInput, proof.signature)
}

test('twenty claims of one box are read and verified', async () => {
  Object.assign(node.env, { ROLLCALL_URL: server.url, ROLLCALL_PIN: server.pin })
  for (let n = 0; n < 19; n++) server.plan('/v1/claim', { status: 503, headers: { 'Retry-After': '1' }, body: 'busy' })
  const { code, stderr } = await node.run(shell, template('client.sh'), 'claim')
  assert.is(code, 0, stderr)
  const claims = server.requests('/v1/claim').map(({ body }) => parseClaim(Buffer.from(body)))
  assert.is(claims.length, 20)
  for (const claim of claims) assert.ok(await isTrue(claim))
  assert.is(new Set(claims.map(({ payload }) => payload.jti)).size, 20)
})

test('a proof of key is read and verified, with the hash of the join token', async () => {
  node.document('server')
  const { code, stderr } = await node.run(shell, template('rollcall-node.sh'), 'install')
  assert.is(code, 0, stderr)
  const [sent] = server.requests('/v1/join')
  const proof = parseJoinProof(Buffer.from(sent?.body ?? ''))
  assert.ok(await isTrue(proof))
  assert.is(proof.payload.sub, 'SN-0001')
  assert.ok(readFileSync(node.path('etc/rancher/k3s/token'), 'utf8').startsWith(server.token))
})
