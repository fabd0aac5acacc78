import { existsSync, readFileSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import { Box, shells, template } from './box.ts'
import { suiteUnder } from './under.ts'

const client = template('client.sh')
const kept = ['state/applied', 'state/steps/enr_old/redeemed', 'state/reports/1']

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'client.sh apply, on a seeded box,', { timeout: 120_000 })
  let server: DeviceServer
  let box: Box

  test.before.each(async () => {
    server = await DeviceServer.start()
    box = new Box(server)
    box.write('seed/user-data', '#include-once\n')
    box.env.ROLLCALL_SEED = box.path('seed')
    box.env.ROLLCALL_RESTART = `touch ${box.path('restarted')}`
    await box.run(shell, client, 'identity')
    for (const file of kept) box.write(file, 'enr_old')
  })
  test.after.each(async () => {
    box.remove()
    await server.close()
  })

  test('does not restart into a claim that would be refused: what joined goes on with what it has', async () => {
    server.plan('/v1/claim', { status: 409, body: 'reenroll_denied' })
    const { code, stderr } = await box.run(shell, client, 'apply')
    assert.is(code, 1)
    assert.match(stderr, /verb reenroll/)
    assert.not(existsSync(box.path('restarted')))
    assert.equal(
      kept.map((file) => readFileSync(box.path(file), 'utf8')),
      kept.map(() => 'enr_old'),
    )
  })

  once('forgets the document and restarts once it may claim', async () => {
    server.plan('/v1/claim', { status: 503, headers: { 'Retry-After': '10' }, body: 'busy' })
    const { code, stderr } = await box.run(shell, client, 'apply')
    assert.is(code, 0, stderr)
    assert.is(server.verified.length, 1)
    assert.ok(existsSync(box.path('restarted')))
    assert.equal(
      kept.filter((file) => existsSync(box.path(file))),
      [],
    )
  })
}
