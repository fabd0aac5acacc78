import assert from 'node:assert/strict'
import { type AdminDesk, clusterInput, openAdminDesk } from '../../fakes/admin-desk.ts'
import { testServer } from '../../postgres.ts'
import { suite } from '../../suite.ts'

const test = suite('/clusters?check=true')
let desk: AdminDesk
let endpoint = ''

// The tests' own PostgreSQL, seen as a datastore: an empty database of its own.
test.before(async () => {
  desk = await openAdminDesk()
  const [row] = await desk.world.sql`select current_database() as name`
  const url = new URL(await testServer())
  url.pathname = `/${row?.name}`
  endpoint = url.href
})
test.after(() => desk.world.end())

test('422: a datastore on which K3s would not come up, and nothing of its login is repeated', async () => {
  const wrong = new URL(endpoint)
  wrong.password = 's3cret'
  const input = clusterInput('wrong', { datastore: { kind: 'postgres', endpoint: wrong.href } })
  const answer = await desk.call('POST', '/clusters?check=true', input)
  assert.equal(answer.status, 422)
  assert.deepEqual(answer.body.errors, [{ path: 'datastore', reason: 'it refuses the password' }])
  assert.ok(!answer.text.includes('s3cret'))
  assert.equal((await desk.call('GET', '/clusters/wrong')).status, 404)
})

test('201: what is worth a warning is told and is no refusal', async () => {
  const input = clusterInput('fair', { datastore: { kind: 'postgres', endpoint } })
  const answer = await desk.call('POST', '/clusters?check=true', input)
  assert.equal(answer.status, 201, answer.text)
  const codes = answer.body.datastore_findings.map((one: { code: string }) => one.code)
  assert.deepEqual(codes, ['unverified'])
  assert.equal((await desk.call('GET', '/clusters/fair')).body.datastore_findings, undefined)
})

test('422: a change to a datastore that cannot be reached changes nothing', async () => {
  const moved = endpoint.replace(/:\d+\//, ':1/')
  const answer = await desk.call('PATCH', '/clusters/fair?check=true', { datastore: { endpoint: moved } })
  assert.equal(answer.status, 422)
  assert.match(answer.body.errors[0].reason, /nothing listens there/)
  const unchecked = await desk.call('PATCH', '/clusters/fair', { datastore: { endpoint: moved } })
  assert.equal(unchecked.status, 200, 'without the check it is the admin who knows')
  assert.equal(unchecked.body.datastore_findings, undefined)
})

test('201: what the server cannot try is not tried', async () => {
  const answer = await desk.call('POST', '/clusters?check=true', clusterInput('alone'))
  assert.equal(answer.status, 201)
  assert.deepEqual(answer.body.datastore_findings, [])
})
