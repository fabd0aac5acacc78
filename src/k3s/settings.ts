import type { FieldError } from '../errors.ts'

type Kind = 'boolean' | 'string' | 'list'

/** What all servers of a cluster share, by K3s' own flag names (cmd/server.go of K3s 1.36); what agents know of it, they get too. */
const allowed: Record<string, Kind> = {
  ...kind('boolean', [
    'secrets-encryption',
    'disable-cloud-controller',
    'disable-network-policy',
    'disable-helm-controller',
    'disable-kube-proxy',
    'disable-default-registry-endpoint',
    'embedded-registry',
    'protect-kernel-defaults',
    'selinux',
    'flannel-ipv6-masq',
    'flannel-external-ip',
    'tls-san-security',
    'supervisor-metrics',
    'prefer-bundled-bin',
    'debug',
  ]),
  ...kind('string', [
    'cluster-domain',
    'flannel-backend',
    'flannel-iface',
    'egress-selector-mode',
    'servicelb-namespace',
    'service-node-port-range',
    'system-default-registry',
    'helm-job-image',
    'pause-image',
    'snapshotter',
    'default-local-storage-path',
    'secrets-encryption-provider',
    'write-kubeconfig-mode',
    'write-kubeconfig-group',
    'write-kubeconfig-name',
    'resolv-conf',
  ]),
  ...kind('list', [
    'cluster-cidr',
    'service-cidr',
    'cluster-dns',
    'disable',
    'kube-apiserver-arg',
    'kube-controller-manager-arg',
    'kube-scheduler-arg',
    'kube-cloud-controller-manager-arg',
    'kubelet-arg',
    'kube-proxy-arg',
    'etcd-arg',
  ]),
}

const perNode = 'belongs to one node, and settings are shared by all servers'
const secret = 'holds a secret, and settings are shown to admins'
const ours = 'is written by Rollcall itself'

/** Why a key of K3s that exists is not a setting. */
const refused: Record<string, string> = {
  ...reason(perNode, [
    'node-name',
    'node-ip',
    'node-external-ip',
    'node-internal-dns',
    'node-external-dns',
    'node-label',
    'node-taint',
    'with-node-id',
    'advertise-address',
    'advertise-port',
    'bind-address',
    'image-credential-provider-bin-dir',
    'lb-server-port',
    'rootless',
    'docker',
  ]),
  ...reason(secret, [
    'token',
    'agent-token',
    'vpn-auth',
    'vpn-auth-file',
    'etcd-s3-access-key',
    'etcd-s3-secret-key',
    'etcd-s3-session-token',
    'datastore-endpoint',
  ]),
  ...reason(ours, [
    'server',
    'token-file',
    'agent-token-file',
    'datastore-cafile',
    'datastore-certfile',
    'datastore-keyfile',
    'cluster-init',
    'cluster-reset',
    'cluster-reset-restore-path',
    'config',
    'data-dir',
    'write-kubeconfig',
    'https-listen-port',
    'disable-agent',
    'disable-apiserver',
    'disable-controller-manager',
    'disable-scheduler',
    'disable-etcd',
  ]),
  'tls-san': 'is written by Rollcall: use tls_sans',
}

/** What a value may hold: it ends in a YAML string that K3s reads, and K3s passes it on as an argument. */
const printable = /^[\x20-\x7e]{1,4096}$/

/** What is wrong with a cluster's `settings`, by path; empty if all can be used. */
export function checkSettings(settings: Readonly<Record<string, unknown>>): FieldError[] {
  return Object.entries(settings).flatMap(([key, value]) => {
    const path = `settings.${key}`
    const why = keyProblem(key) ?? valueProblem(allowed[key] as Kind, value)
    return why ? [{ path, reason: why }] : []
  })
}

function keyProblem(key: string): string | undefined {
  if (Object.hasOwn(allowed, key)) return undefined
  if (Object.hasOwn(refused, key)) return refused[key]
  return 'is no server setting of K3s that Rollcall knows'
}

function valueProblem(kind: Kind, value: unknown): string | undefined {
  if (kind === 'boolean') return typeof value === 'boolean' ? undefined : 'must be true or false'
  if (kind === 'string') return isText(value) ? undefined : 'must be a string of printable ASCII'
  return Array.isArray(value) && value.length <= 64 && value.every(isText)
    ? undefined
    : 'must be a list of strings of printable ASCII'
}

const isText = (value: unknown) => typeof value === 'string' && printable.test(value)

function kind(of: Kind, keys: string[]): Record<string, Kind> {
  return Object.fromEntries(keys.map((key) => [key, of]))
}

function reason(why: string, keys: string[]): Record<string, string> {
  return Object.fromEntries(keys.map((key) => [key, why]))
}
