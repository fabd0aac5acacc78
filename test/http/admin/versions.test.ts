import * as assert from 'uvu/assert'
import { type AdminDesk, openAdminDesk, versionInput } from '../../fakes/admin-desk.ts'
import { suite } from '../../suite.ts'

const test = suite('/versions')
let desk: AdminDesk
test.before(async () => {
  desk = await openAdminDesk()
})
test.after(() => desk.world.end())

const arm64 = { arm64: { sha256: 'd4'.repeat(32) } }

test('422: no architecture, a hash that is none, a release that is none, a further file that is none', async () => {
  const bad = [
    { ...versionInput, artifacts: {} },
    { ...versionInput, artifacts: { amd64: { sha256: 'A1'.repeat(32) } } },
    { ...versionInput, artifacts: { riscv: { sha256: 'a1'.repeat(32) } } },
    { ...versionInput, version: 'latest' },
    { version: versionInput.version },
    { ...versionInput, files: { '../k3s': { sha256: 'a1'.repeat(32) } } },
    { ...versionInput, files: { k3s: { sha256: 'a1'.repeat(32) } } },
    { ...versionInput, files: { 'sha256sum-arm.txt': { sha256: 'a1'.repeat(32) } } },
  ]
  for (const input of bad) assert.is((await desk.call('POST', '/versions', input)).status, 422)
})

test('201, and 200 when it is on record already', async () => {
  const made = await desk.call('POST', '/versions', versionInput)
  assert.is(made.status, 201)
  assert.is(made.headers.get('location'), '/api/v1/versions/v1.36.3%2Bk3s1')
  const read = await desk.call('GET', '/versions/v1.36.3%2Bk3s1')
  assert.equal(read.body, made.body)
  assert.equal((await desk.call('GET', '/versions/v1.36.3+k3s1')).body, made.body)
  const again = await desk.call('POST', '/versions', versionInput)
  assert.is(again.status, 200)
  assert.is(again.headers.get('etag'), made.headers.get('etag'))
})

test('200: an architecture is added; 409: a hash is never changed', async () => {
  const extended = await desk.call('POST', '/versions', { ...versionInput, artifacts: arm64 })
  assert.is(extended.status, 200)
  assert.equal(extended.body.artifacts, { ...versionInput.artifacts, ...arm64 })
  const other = { sha256: '00'.repeat(32) }
  for (const change of [{ artifacts: { arm64: other } }, { install_script: other }]) {
    const answer = await desk.call('POST', '/versions', { ...versionInput, ...change })
    assert.is(answer.status, 409)
    assert.is(answer.body.code, 'already_exists')
  }
  const { body } = await desk.call('GET', '/versions')
  assert.equal(body.items[0].artifacts, { ...versionInput.artifacts, ...arm64 })
})

test('409: another hash is an alarm, in the audit log with both', async () => {
  const { body } = await desk.call('GET', '/audit?target=version:v1.36.3%2Bk3s1')
  const alarm = body.items.find((item: { action: string }) => item.action === 'version.alarm.hash')
  assert.equal(alarm.detail.differing, [
    { name: 'install.sh', on_record: versionInput.install_script.sha256, shown: '00'.repeat(32) },
  ])
})

test('200: files are added, and guarded like binaries', async () => {
  const name = 'k3s-airgap-images-amd64.tar.zst'
  const files = { [name]: { sha256: 'e5'.repeat(32) } }
  const before = await desk.call('GET', '/versions/v1.36.3+k3s1')
  const added = await desk.call('POST', '/versions', { ...versionInput, files })
  assert.is(added.status, 200)
  assert.equal(added.body.files, files)
  assert.is.not(added.headers.get('etag'), before.headers.get('etag'))
  const other = { ...versionInput, files: { [name]: { sha256: 'f6'.repeat(32) } } }
  assert.match((await desk.call('POST', '/versions', other)).body.detail, /another hash of k3s-airgap-images-amd64/)
})

test('404: a release that nobody recorded', async () => {
  assert.is((await desk.call('GET', '/versions/v1.0.0+k3s1')).status, 404)
})
