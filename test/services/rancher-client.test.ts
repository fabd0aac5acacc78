import * as assert from 'uvu/assert'
import { AppError } from '../../src/errors.ts'
import { describeCause } from '../../src/http/error-cause.ts'
import type { RancherImport } from '../../src/k3s/cluster.ts'
import { fetchImportManifest } from '../../src/services/rancher-client.ts'
import { FakeRancher } from '../fakes/rancher.ts'
import { suite } from '../suite.ts'

const test = suite('asking a Rancher for a manifest')
let rancher: FakeRancher
let other: FakeRancher

test.before(async () => {
  rancher = await FakeRancher.start()
  other = await FakeRancher.start()
})
test.after(() => {
  rancher.stop()
  other.stop()
})
test.after.each(() => {
  rancher.says = undefined
  rancher.serve = undefined
})

const given = (): RancherImport => ({ url: rancher.url, token: rancher.token, ca: rancher.ca })

/** Why there is none; neither the admin's words nor the log's hold a secret. */
async function refusal(from: RancherImport = given()): Promise<string> {
  try {
    await fetchImportManifest(from, 'site-a')
  } catch (error) {
    assert.instance(error, AppError)
    const { code, detail = '', cause } = error as AppError
    assert.is(code, 'busy')
    const logged = JSON.stringify(describeCause(cause))
    for (const secret of ['secret_', 'token-abcde']) assert.not(`${detail} ${logged}`.includes(secret), logged)
    return detail.replace('the Rancher is not ready for this cluster: ', '')
  }
  throw new Error('it was taken')
}

test('refuses a manifest that is not on the Rancher’s own origin over https, and does not go there', async () => {
  const asked = other.seen.length
  for (const [says, why] of [
    [`${other.url}/v3/import/secret_c-1.yaml`, 'is elsewhere'],
    [`https://user:pw@${new URL(rancher.url).host}/v3/import/secret_c-1.yaml`, 'takes no user'],
    [rancher.url.replace('https', 'http'), 'is no https URL'],
    ['file:///etc/rollcall/secret_key', 'is no https URL'],
    ['https://[secret_', 'is no URL'],
    [`https://x/secret_${'x'.repeat(600)}`, 'is no URL'],
    [7, 'is no URL'],
    [{ href: rancher.url }, 'is no URL'],
  ] as const) {
    rancher.says = says
    assert.match(await refusal(), `the address that it gives for its manifest ${why}`, String(says))
  }
  assert.is(other.seen.length, asked)
})

test('follows no redirect', async () => {
  const asked = other.seen.length
  const location = `${other.url}/v3/import/secret_c-1.yaml`
  rancher.serve = (response) => response.writeHead(302, { location }).end()
  assert.is(await refusal(), 'it gave no manifest: the answer is 302')
  assert.is(other.seen.length, asked)
})

test('refuses what is no manifest, and one that is too long, however it comes', async () => {
  const serve = (text: string) => {
    rancher.serve = (response) => response.end(text)
  }
  for (const [text, why] of [
    ['', 'it is empty'],
    ['---\n---\n', 'it is empty'],
    ['<html>secret_</html>', 'not all of it is of Kubernetes'],
    ['kind: Secret\n', 'not all of it is of Kubernetes'],
    [`${rancher.manifest('c-1')}---\n[1]\n`, 'not all of it is of Kubernetes'],
    ['kind: Secret\nkind: Secret\n', 'it is no YAML'],
    ['a: "secret_\n', 'it is no YAML'],
    [`a: &a [${'x,'.repeat(9)}]\nb: &b [${'*a,'.repeat(9)}]\nc: [${'*b,'.repeat(9)}]\n`, 'it is no YAML'],
  ] as const) {
    serve(text)
    assert.is(await refusal(), `it gave no manifest: ${why}`, text)
  }
  serve(`${rancher.manifest('c-1')}# ${'x'.repeat(262_144)}`)
  assert.is(await refusal(), 'an answer has more than 262144 bytes')
  rancher.serve = (response) => {
    // A response stays `writable` when its client has gone; then each write fails at once, and nothing else would ever run.
    const more = (error?: Error | null) => void (error || response.write('x'.repeat(65_536), more))
    more()
  }
  assert.is(await refusal(), 'an answer has more than 262144 bytes')
})

test('an answer that breaks off is none', async () => {
  rancher.serve = (response) => {
    response.writeHead(200, { 'content-length': 1_000 })
    response.write('apiVersion: v1\n', () => response.destroy())
  }
  assert.is(await refusal(), 'it does not answer (ECONNRESET)')
})

test('what this Node cannot even send is a refusal too', async () => {
  assert.is(await refusal({ ...given(), token: 'token-abcde\n' }), 'it does not answer (ERR_INVALID_CHAR)')
})

test('takes a manifest of several objects', async () => {
  const text = `---\n${rancher.manifest('c-1')}---\n# nothing\n---\n${rancher.manifest('c-2')}`
  rancher.serve = (response) => response.end(text)
  assert.is(await fetchImportManifest(given(), 'site-a'), text)
})
