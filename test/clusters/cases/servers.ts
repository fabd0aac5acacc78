import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { ask } from '../../fakes/k3s/ask.ts'
import type { Box } from '../../lab/box.ts'
import { type Case, until } from '../../lab/case.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

/** Servers that are installed again, or revoked. */
export function serverCases(world: World): Case[] {
  return [
    {
      name: 'servers: the one server of a sqlite cluster may start over, and its agents must join anew',
      run: (keep) =>
        Cluster.with(world, 'over', { kind: 'sqlite' }, keep, async (cluster) => {
          const [old, agent] = [await cluster.unpack('server'), await cluster.unpack('agent')]
          await Promise.all([old.start(), agent.start()])
          await cluster.ready()
          const { ca_hash: before } = await cluster.body()
          await old.cut()
          const server = await cluster.reinstall(old)
          await server.start()
          await cluster.says(
            'a new cluster is up',
            ({ state, ca_hash }) => state === 'up' && ca_hash !== null && ca_hash !== before,
          )
          await cluster.ready([server])
          assert.equal((await cluster.device(agent)).must_rejoin, true)
          await agent.cut()
          await (await cluster.reinstall(agent)).start()
          await cluster.ready()
        }),
    },
    {
      name: 'servers: one that comes back with an empty disk joins its cluster again',
      run: (keep) =>
        Cluster.with(world, 'back', { kind: 'managed' }, keep, async (cluster) => {
          const [old, other] = await twoServers(cluster)
          const { ca_hash: before } = await cluster.body()
          await old.cut()
          const server = await cluster.reinstall(old)
          await server.start()
          await until('K3s runs on the new disk', () => server.has('/etc/rancher/k3s/k3s.yaml'))
          await cluster.ready()
          assert.equal((await cluster.body()).ca_hash, before)
          assert.equal((await cluster.kubectl(other, 'get', 'nodes', '-o', 'name')).trim().split('\n').length, 2)
        }),
    },
    {
      name: 'servers: a revoked one is cut off from the datastore at once, the other is untouched, and no new one is let in until the keys were rotated',
      run: (keep) =>
        Cluster.with(world, 'cut-off', { kind: 'managed' }, keep, async (cluster) => {
          const [revoked, other] = await twoServers(cluster)
          await cluster.deviceVerb(revoked, 'revoke')
          await until(
            'its login is refused',
            async () =>
              /not permitted to log in|does not exist|no pg_hba.conf entry|authentication failed/.test(
                await revoked.console(),
              ),
            { every: 500 },
          )
          await until('its K3s answers no more', async () => !(await answers(revoked)), { every: 500 })
          assert.equal((await cluster.body()).state, 'compromised')
          assert.ok(await answers(other))
          const third = await cluster.unpack('server')
          await third.start()
          await until('the third waits', async () => /compromised/.test(await third.console()))
          await rotateToken(cluster, other)
          // It would ask again by itself, but only every five minutes.
          await third.cut()
          await third.start()
          await cluster.ready([other, third])
        }),
    },
  ]
}

async function twoServers(cluster: Cluster): Promise<[Box, Box]> {
  const boxes: [Box, Box] = [await cluster.unpack('server'), await cluster.unpack('server')]
  await Promise.all(boxes.map((box) => box.start()))
  await cluster.ready()
  return boxes
}

/** What docs tell the admin to do: a new server token to K3s, to every server that stays, and to the roll. */
async function rotateToken(cluster: Cluster, server: Box): Promise<void> {
  const [old, next] = [(await server.read('/etc/rancher/k3s/token'))?.trim(), randomBytes(32).toString('hex')]
  const headers = { authorization: `Basic ${Buffer.from(`server:${old}`).toString('base64')}` }
  const options = { method: 'PUT', headers, body: JSON.stringify({ newToken: next }) }
  assert.equal((await ask(`https://${server.ip}:6443/v1-k3s/token`, options)).status, 200)
  await server.cut()
  await writeFile(server.path('/etc/rancher/k3s/token'), `${next}\n`, { mode: 0o600 })
  await server.start()
  await cluster.verb('rotated', { server_token: next })
}

const answers = (box: Box) =>
  ask(`https://${box.ip}:6443/ping`).then(
    ({ body }) => body === 'pong',
    () => false,
  )
