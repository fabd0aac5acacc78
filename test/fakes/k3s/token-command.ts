import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

/** `k3s token create [--ttl T] [--usages U] [token]`, with the real one's trap: flags after the token are ignored. @returns its exit code */
export function tokenCommand([verb, ...args]: string[], kubectl: string, root: string): number {
  if (verb !== 'create') return 3
  // Go's flag parser stops at the first word that is none.
  const end = args.findIndex((arg, i) => !arg.startsWith('--') && !args[i - 1]?.startsWith('--'))
  const { values } = parseArgs({
    args: end < 0 ? args : args.slice(0, end),
    options: { ttl: { type: 'string', default: '24h' }, usages: { type: 'string', default: 'signing,authentication' } },
  })
  const [, amount = '24', unit = 'h'] = /^(\d+)([smh])$/.exec(values.ttl) ?? []
  const seconds = Number(amount) * { s: 1, m: 60, h: 3_600 }[unit as 's' | 'm' | 'h']
  const [id, secret] = (args[end] ?? `${chance(3)}.${chance(8)}`).split('.')
  const usages = values.usages.split(',').map((usage) => [`usage-bootstrap-${usage}`, 'true'])
  const manifest = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': id,
      'token-secret': secret,
      expiration: new Date(Date.now() + seconds * 1000).toISOString(),
      'auth-extra-groups': 'system:bootstrappers:k3s:default-node-token',
      ...Object.fromEntries(usages),
    },
  }
  const env = { ...process.env, KUBECONFIG: join(root, 'etc/rancher/k3s/k3s.yaml') }
  const { status } = spawnSync(kubectl, ['create', '-f', '-'], {
    input: JSON.stringify(manifest),
    env,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  if (status === 0) console.log(`${id}.${secret}`)
  return status ?? 1
}

const chance = (bytes: number) => randomBytes(bytes).toString('hex')
