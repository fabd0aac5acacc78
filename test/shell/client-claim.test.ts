import { statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import { suite } from '../suite.ts'
import { Box, shells, template } from './box.ts'

const client = template('client.sh')

for (const [name, shell] of shells) {
  const test = suite(`client.sh claim under ${name}`)
  let server: DeviceServer
  let box: Box

  test.before.each(async () => {
    server = await DeviceServer.start()
    box = new Box(server)
  })
  test.after.each(async () => {
    box.remove()
    await server.close()
  })

  test('fetches the document with a claim that verifies', async () => {
    const { code, stderr } = await box.run(shell, client, 'claim')
    assert.is(code, 0, stderr)
    assert.is(box.read('run/user-data'), server.document.body)
    assert.is(statSync(box.path('run/user-data')).mode & 0o777, 0o600)
    const [claim] = server.verified
    assert.is(claim?.payload.sub, 'SN-0001')
  })
}
