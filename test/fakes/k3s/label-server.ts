import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { ask } from './ask.ts'

/** A kubelet may not call itself a server: the server does, once its Node is there (K3s pkg/server, setNodeLabelsAndAnnotations). */
export async function labelServer(root: string, nodeName: string): Promise<void> {
  const { clusters, users } = parse(readFileSync(join(root, 'etc/rancher/k3s/k3s.yaml'), 'utf8')) as Kubeconfig
  const [{ cluster }, { user }] = [clusters[0], users[0]]
  const text = (base64: string) => Buffer.from(base64, 'base64').toString()
  const options = {
    method: 'PATCH',
    ca: text(cluster['certificate-authority-data']),
    cert: text(user['client-certificate-data']),
    key: text(user['client-key-data']),
    headers: { 'content-type': 'application/merge-patch+json' },
    body: JSON.stringify({ metadata: { labels: { 'node-role.kubernetes.io/control-plane': 'true' } } }),
  }
  const done = () =>
    ask(`${cluster.server}/api/v1/nodes/${nodeName}`, options).then(
      ({ status }) => status === 200,
      () => false,
    )
  while (!(await done())) await sleep(1_000)
}

type Kubeconfig = {
  clusters: [{ cluster: { server: string; 'certificate-authority-data': string } }]
  users: [{ user: { 'client-certificate-data': string; 'client-key-data': string } }]
}
