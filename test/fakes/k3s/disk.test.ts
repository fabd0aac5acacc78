import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as assert from 'uvu/assert'
import { suite } from '../../suite.ts'
import { makeClusterFiles } from './bootstrap.ts'
import { makeLeaf } from './certificates.ts'
import { isSignedBy, keepFiles, ownFiles, servingCertificate } from './disk.ts'

const test = suite("the K3s simulator's certificates on the disk")
const [mine, theirs] = [await makeClusterFiles('ab'.repeat(32)), await makeClusterFiles('ab'.repeat(32))]
let root: string
let said: string[]

test.before.each(() => {
  root = mkdtempSync(join(tmpdir(), 'k3s-sim-'))
  said = []
})
test.after.each(() => rmSync(root, { recursive: true, force: true }))

const file = (name: string) => join(root, 'var/lib/rancher/k3s/server/tls', name)
const keep = (files: typeof mine, savedAt?: Date) => keepFiles(root, files, savedAt, (line) => said.push(line))
const leafOf = (files: typeof mine) => () =>
  makeLeaf(
    { certificate: files.ServerCA as string, key: files.ServerCAKey as string },
    { user: 'k3s' },
    { server: true },
  )

test('refuses a datastore that is older than what lies here', () => {
  keep(mine)
  assert.throws(() => keep(theirs, new Date(Date.now() - 10_000)), /newer than datastore/)
  assert.is(readFileSync(file('server-ca.crt'), 'utf8'), mine.ServerCA)
})

test('a first server that lost its turn takes the CA of the datastore, and goes on serving with a certificate of its own', async () => {
  keep(mine)
  await servingCertificate(root, [], leafOf(mine))
  utimesSync(file('server-ca.crt'), new Date(0), new Date(0))
  keep(theirs, new Date())
  assert.is(readFileSync(file('server-ca.crt'), 'utf8'), theirs.ServerCA)
  assert.equal(said, ['Updating bootstrap data on disk from datastore'])
  const served = await servingCertificate(root, [], leafOf(theirs))
  assert.not(isSignedBy(served.certificate, theirs.ServerCA as string))
})

test('what it made before it was cut off is used again, all of it or nothing', () => {
  assert.equal(ownFiles(root), {})
  keep(mine)
  const { ServerCA, ServerCAKey, ClientCA, ClientCAKey } = mine
  assert.equal(ownFiles(root), { ServerCA, ServerCAKey, ClientCA, ClientCAKey })
  rmSync(file('client-ca.key'))
  assert.equal(ownFiles(root), {})
})

test('an empty disk takes all from the datastore', async () => {
  keep(theirs, new Date())
  assert.equal(said, [])
  assert.ok(existsSync(file('client-ca.key')))
  const served = await servingCertificate(root, [], leafOf(theirs))
  assert.ok(isSignedBy(served.certificate, theirs.ServerCA as string))
})
