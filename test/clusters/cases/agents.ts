import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { ask } from '../../fakes/k3s/ask.ts'
import { findKubectl } from '../../kine/kubectl.ts'
import type { Box } from '../../lab/box.ts'
import { type Case, until } from '../../lab/case.ts'
import { attempt } from '../../lab/command.ts'
import { Cluster } from '../cluster.ts'
import type { World } from '../world.ts'

const sqlite = { kind: 'sqlite' }

/** What becomes of an agent after it joined: its token dies, it is installed again, it is revoked. */
export function agentCases(world: World): Case[] {
  return [
    {
      name: 'agents: a join token is deleted once its agent joined, and opens nothing afterwards',
      run: (keep) =>
        Cluster.with(world, 'token', sqlite, keep, async (cluster) => {
          const [server, agent] = await serverAndAgent(cluster)
          const token = (await agent.read('/etc/rancher/k3s/token'))?.trim() ?? ''
          const [, id, secret] = /::([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(token) ?? assert.fail(token)
          await until(
            `the Secret of ${id} is gone`,
            async () => !(await tokens(cluster, server)).includes(`bootstrap-token-${id}`),
            { every: 500 },
          )
          const headers = { authorization: `Bearer ${id}.${secret}` }
          const config = async () => (await ask(`https://${server.ip}:6443/v1-k3s/config`, { headers })).status
          await until('the token is refused', async () => (await config()) === 401, { seconds: 15, every: 500 })
        }),
    },
    {
      name: 'agents: one that is installed again joins again under its name, with its node password',
      run: (keep) =>
        Cluster.with(world, 'again', sqlite, keep, async (cluster) => {
          const [server, old] = await serverAndAgent(cluster)
          const password = await old.read('/etc/rancher/node/password')
          await old.cut()
          const agent = await cluster.reinstall(old)
          await agent.start()
          await until('K3s runs on the new disk', () => agent.has('/var/lib/rancher/k3s/agent/kubelet.kubeconfig'))
          await cluster.ready()
          assert.equal(await agent.read('/etc/rancher/node/password'), password)
          assert.equal((await cluster.kubectl(server, 'get', 'nodes', '-o', 'name')).trim().split('\n').length, 2)
        }),
    },
    {
      name: 'agents: a revoked one loses its Node and cannot make it again, however it tries; the others stay',
      run: (keep) =>
        Cluster.with(world, 'revoked', sqlite, keep, async (cluster) => {
          const [server, agent] = await serverAndAgent(cluster)
          const other = await cluster.unpack('agent')
          await other.start()
          await cluster.ready()
          await cluster.deviceVerb(agent, 'revoke')
          const names = async () => (await cluster.kubectl(server, 'get', 'nodes', '-o', 'name')).trim().split('\n')
          await until('its Node is gone', async () => !(await names()).includes(`node/${nameOf(agent)}`), {
            every: 500,
          })
          await until('it is banned', async () => (await makeOwnNode(agent, server)).includes('was revoked'), {
            every: 500,
          })
          await agent.cut()
          await agent.start()
          await cluster.reaches(agent, 'start', 2)
          await until('it is refused', async () =>
            /(?:config|serving-kubelet\.crt): 40[13]:/.test(await agent.console()),
          )
          assert.deepEqual((await names()).sort(), [server, other].map((box) => `node/${nameOf(box)}`).sort())
          assert.equal((await cluster.device(agent)).state, 'revoked')
          assert.equal((await cluster.device(other)).state, 'ready')
        }),
    },
  ]
}

async function serverAndAgent(cluster: Cluster): Promise<[Box, Box]> {
  const boxes: [Box, Box] = [await cluster.unpack('server'), await cluster.unpack('agent')]
  await Promise.all(boxes.map((box) => box.start()))
  await cluster.ready()
  return boxes
}

const nameOf = (box: Box) => box.serial.toLowerCase()

const tokens = (cluster: Cluster, server: Box) =>
  cluster.kubectl(server, '-n', 'kube-system', 'get', 'secrets', '-o', 'name')

/** What a thief with the box's disk does: registers its Node with the kubelet's certificate, which is still good. @returns what kubectl said */
async function makeOwnNode(box: Box, server: Box): Promise<string> {
  const kubeconfig = (await box.read('/var/lib/rancher/k3s/agent/kubelet.kubeconfig')) ?? ''
  const files = { kubeconfig: `${box.dir}/stolen`, node: `${box.dir}/node.json` }
  await writeFile(files.kubeconfig, kubeconfig.replace(/server: .*/, `server: https://${server.ip}:6443`), {
    mode: 0o600,
  })
  await writeFile(files.node, JSON.stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: nameOf(box) } }))
  const { stderr, stdout } = await attempt(findKubectl() as string, [
    '--kubeconfig',
    files.kubeconfig,
    'create',
    '-f',
    files.node,
  ])
  return stdout + stderr
}
