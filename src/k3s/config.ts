import { AppError } from '../errors.ts'

type Role = 'server' | 'agent'

/** A key's value as K3s reads it; booleans and lists come from the cluster's settings. */
export type ConfigValue = string | boolean | readonly string[]

/** Where K3s looks for its configuration and its token on every node (PROTOCOL.md, "Files on the node"). */
export const paths = {
  config: '/etc/rancher/k3s/config.yaml',
  token: '/etc/rancher/k3s/token',
  nodePassword: '/etc/rancher/node/password',
} as const

/** An agent dies on a key that it does not know, a server only warns: what an agent may say is listed (K3s cmd/agent.go). */
const agentKeys = new Set([
  'server',
  'token-file',
  'node-name',
  'node-ip',
  'node-external-ip',
  'node-label',
  'node-taint',
  'with-node-id',
  'data-dir',
  'selinux',
  'private-registry',
  'disable-default-registry-endpoint',
  'pause-image',
  'snapshotter',
  'kubelet-arg',
  'kube-proxy-arg',
  'flannel-iface',
  'resolv-conf',
  'protect-kernel-defaults',
  'lb-server-port',
  'bind-address',
  'prefer-bundled-bin',
  'debug',
])

/** Those of a cluster's settings that are about any node, agents included. */
export const agentSettings = (settings: Readonly<Record<string, ConfigValue>>): Record<string, ConfigValue> =>
  Object.fromEntries(Object.entries(settings).filter(([key]) => agentKeys.has(key)))

/** What belongs to agents, or must never stand in a file that K3s' servers share. */
const notForServers = new Set(['server', 'token', 'agent-token', 'lb-server-port'])

/**
 * The text of config.yaml. Every scalar is a double-quoted string, since K3s' parser (yaml.v2) reads a bare 0644 as 420
 * and an all-digit token as a float.
 * @throws AppError `internal` if a key does not fit the role or a value is not printable ASCII: both were to be refused when declared
 */
export function configYaml(role: Role, keys: Readonly<Record<string, ConfigValue>>): string {
  const lines = Object.entries(keys).map(([key, value]) => {
    if (role === 'agent' ? !agentKeys.has(key) : notForServers.has(key))
      throw broken(`${key} does not belong to ${role}`)
    return line(key, value)
  })
  return `${lines.join('\n')}\n`
}

/** One key of config.yaml, without its line end. */
export function line(key: string, value: ConfigValue): string {
  if (!/^[a-z][a-z0-9-]*$/.test(key)) throw broken('a key is not a flag of K3s')
  if (typeof value === 'object') return [`${key}:`, ...value.map((item) => `  - ${quoted(item)}`)].join('\n')
  return `${key}: ${quoted(String(value))}`
}

// JSON's quoting is YAML's as long as nothing but printable ASCII is quoted.
function quoted(text: string): string {
  if (!/^[\x20-\x7e]*$/.test(text)) throw broken('a value is not printable ASCII')
  return JSON.stringify(text)
}

const broken = (why: string) => new AppError('internal', { cause: new Error(`config.yaml: ${why}`) })
