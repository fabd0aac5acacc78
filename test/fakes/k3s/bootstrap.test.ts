import * as assert from 'uvu/assert'
import { bootstrapName, openBootstrap } from '../../../src/k3s/bootstrap.ts'
import { caHash } from '../../../src/k3s/ca-hash.ts'
import { testsWithKine } from '../../kine/program.ts'
import { type Kine, startKine } from '../../kine/start.ts'
import { suite } from '../../suite.ts'
import { bootstrapKey, makeClusterFiles, openFiles, saveFiles, takeTurn } from './bootstrap.ts'

const test = suite("the K3s simulator's bootstrap row", { timeout: 60_000 })
const withKine = testsWithKine(test)
const token = 'ab'.repeat(32)
let kine: Kine

test.before.each(async () => {
  kine = await startKine()
})
test.after.each(() => kine.stop())

const quiet = () => {}

withKine('a datastore that another token encrypted is refused', async () => {
  await takeTurn(kine.client, token, quiet)
  try {
    await takeTurn(kine.client, 'cd'.repeat(32), quiet)
    assert.unreachable()
  } catch (error) {
    assert.match((error as Error).message, 'encrypted with different token')
  }
})

withKine('the first leaves an empty row as its lock, then the files, which Rollcall can open', async () => {
  assert.is(await takeTurn(kine.client, token, quiet), undefined)
  assert.is(bootstrapKey(token), bootstrapName(token))
  assert.is((await kine.client.get(bootstrapKey(token)))?.value.length, 0)
  const files = await makeClusterFiles(token)
  await saveFiles(kine.client, token, files, quiet)
  const value = (await kine.client.get(bootstrapKey(token)))?.value as Buffer
  assert.ok(value.length > 5_000 && value.length < 20_000, `${value.length} bytes`)
  assert.equal(openFiles(token, value).files, files)
  const opened = await openBootstrap(value, token)
  assert.is('caHash' in opened && opened.caHash, caHash(Buffer.from(files.ServerCA as string)))
  assert.equal((await takeTurn(kine.client, token, quiet))?.files, files)
})

withKine(
  'a waiter takes a lock that stays for twenty seconds for dead, and a first server that is late only warns',
  async () => {
    await takeTurn(kine.client, token, quiet)
    const begun = Date.now()
    const said: string[] = []
    assert.is(await takeTurn(kine.client, token, (line) => said.push(line)), undefined)
    const waited = (Date.now() - begun) / 1000
    assert.ok(waited > 19 && waited < 25, `${waited} s`)
    assert.is(said.filter((line) => line.includes('already locked')).length, 4)
    const second = await makeClusterFiles(token)
    await saveFiles(kine.client, token, second, quiet)
    await saveFiles(kine.client, token, await makeClusterFiles(token), (line) => said.push(line))
    assert.is(said.at(-1), 'Bootstrap key already exists')
    assert.equal((await takeTurn(kine.client, token, quiet))?.files, second)
  },
)
