import { Agent } from 'node:https'
import { arch, networkInterfaces } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, ask } from './ask.ts'
import type { Membership } from './join.ts'

export type Kubelet = Membership & {
  nodeName: string
  version: string
  say: (line: string) => void
}

/** Milliseconds between renewals of its lease. */
const every = 10_000

/** Registers its Node and keeps it alive, for ever: Node and Lease over the API, as a real kubelet does. */
export async function runKubelet(kubelet: Kubelet, { signal }: { signal?: AbortSignal } = {}): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const call = (method: string, path: string, body?: unknown, type = 'application/json') =>
    ask(`${kubelet.url}${path}`, {
      method,
      ca: kubelet.ca,
      cert: kubelet.client.certificate,
      key: kubelet.client.key,
      agent,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': type } }),
    })
  const failed = (what: string, error: Error) => {
    kubelet.say(`${what}: ${error.message}`)
    return false
  }
  const again = async (what: string, act: () => Promise<boolean>) => {
    while (!signal?.aborted && !(await act().catch((error: Error) => failed(what, error)))) await sleep(1_000)
  }
  await again('Unable to register node with API server', () => register(kubelet, call))
  kubelet.say(`Successfully registered node ${kubelet.nodeName}`)
  await again('Unable to report the node ready', () => reportReady(kubelet, call))
  while (!signal?.aborted) {
    await renew(kubelet, call)
      .then(() => stayReady(kubelet, call))
      .catch((error: Error) => kubelet.say(`Failed to renew lease: ${error.message}`))
    await sleep(every, undefined, { ref: !signal, ...(signal && { signal }) }).catch(() => {})
  }
  agent.destroy()
}

type Call = (method: string, path: string, body?: unknown, type?: string) => Promise<Answer>

async function register({ nodeName, version }: Kubelet, call: Call): Promise<boolean> {
  const labels = {
    'kubernetes.io/arch': machine,
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
    'node.kubernetes.io/instance-type': 'k3s',
  }
  const resources = { cpu: '2', memory: '2048000Ki', pods: '110' }
  const node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName, labels },
    status: {
      capacity: resources,
      allocatable: resources,
      conditions: [condition('Ready', 'False', 'KubeletNotReady', 'container runtime network not ready')],
      addresses: [
        { type: 'InternalIP', address: ownAddress() },
        { type: 'Hostname', address: nodeName },
      ],
      nodeInfo: nodeInfo(version),
    },
  }
  const { status, body } = await call('POST', '/api/v1/nodes', node)
  if (status === 409) return true
  if (status !== 201) throw new Error(`${status} ${body.trim()}`)
  return true
}

async function reportReady({ nodeName, version }: Kubelet, call: Call): Promise<boolean> {
  const status = {
    conditions: [
      condition('MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
      condition('DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      condition('PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
      condition('Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
    ],
    nodeInfo: nodeInfo(version),
  }
  const path = `/api/v1/nodes/${nodeName}/status`
  const answer = await call('PATCH', path, { status }, 'application/strategic-merge-patch+json')
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.body.trim()}`)
  return true
}

/** Says again what the API server knows otherwise; a Node that was deleted is not made anew before a restart. */
async function stayReady(kubelet: Kubelet, call: Call): Promise<void> {
  const { status, body } = await call('GET', `/api/v1/nodes/${kubelet.nodeName}`)
  if (status !== 200) return
  const { conditions = [] } = JSON.parse(body).status as { conditions?: { type: string; status: string }[] }
  if (!conditions.some((one) => one.type === 'Ready' && one.status === 'True')) await reportReady(kubelet, call)
}

async function renew({ nodeName }: Kubelet, call: Call): Promise<void> {
  const folder = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases'
  const lease = {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: nodeName, namespace: 'kube-node-lease' },
    spec: { holderIdentity: nodeName, leaseDurationSeconds: 40, renewTime: microTime(new Date()) },
  }
  // A failed renewal leaves the Node to the controller, which shows it as not ready. An update would have to name the version that it replaces.
  const { status } = await call('PATCH', `${folder}/${nodeName}`, lease, 'application/merge-patch+json')
  // A kubelet makes no lease for a Node that is not there.
  if (status === 404 && (await call('GET', `/api/v1/nodes/${nodeName}`)).status === 200)
    await call('POST', folder, lease)
}

/** Kubernetes' MicroTime: six digits, no more and no less. */
const microTime = (time: Date) => time.toISOString().replace('Z', '000Z')

function condition(type: string, status: string, reason: string, message: string) {
  const now = new Date().toISOString()
  return { type, status, lastHeartbeatTime: now, lastTransitionTime: now, reason, message }
}

const machine = arch() === 'x64' ? 'amd64' : arch()

const nodeInfo = (version: string) => ({
  machineID: 'simulator',
  systemUUID: 'simulator',
  bootID: 'simulator',
  kernelVersion: '6.1.0',
  osImage: 'Debian GNU/Linux 12 (bookworm)',
  containerRuntimeVersion: 'containerd://2.3.4-k3s1',
  kubeletVersion: version,
  operatingSystem: 'linux',
  architecture: machine,
})

/** The first IPv4 address that is not loopback, else loopback. */
export function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])
  return all.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1'
}
