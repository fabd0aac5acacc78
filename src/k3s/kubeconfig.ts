import YAML from 'yaml'
import { caHash } from './ca-hash.ts'

/** What a server uploaded, as far as it is handed on. */
type Parts = { ca: string; certificate: string; key: string }

const base64 = /^[A-Za-z0-9+/]{16,32768}={0,2}$/

/**
 * A cluster's kubeconfig for people: its API behind the load balancer, the cluster's name as context. Written anew from the CA, certificate and key alone,
 * since a kubeconfig can name programs that kubectl runs (`exec`, `auth-provider`), and its server is not to be trusted with an admin's machine.
 * @param uploaded k3s.yaml as a server of the cluster sent it
 * @param server `https://host:port`
 * @param expected the CA hash that the cluster is known by; null if it is not known
 * @returns why it cannot be given out, instead of one
 */
export function rewriteKubeconfig(
  uploaded: string,
  { name, server, expected }: { name: string; server: string; expected: string | null },
): { text: string } | { problem: string } {
  const parts = read(uploaded)
  if (!parts) return { problem: 'what a server uploaded is no kubeconfig of K3s' }
  const hash = caHash(Buffer.from(parts.ca, 'base64'))
  if (hash === undefined || (expected !== null && hash !== expected))
    return { problem: 'what a server uploaded has another CA than the cluster' }
  return { text: write(parts, name, server) }
}

function read(text: string): Parts | undefined {
  let config: unknown
  try {
    config = YAML.parse(text, { maxAliasCount: 0 })
  } catch {
    return undefined
  }
  const cluster = firstOf(config, 'clusters', 'cluster')
  const user = firstOf(config, 'users', 'user')
  const [ca, certificate, key] = [
    cluster?.['certificate-authority-data'],
    user?.['client-certificate-data'],
    user?.['client-key-data'],
  ]
  return isData(ca) && isData(certificate) && isData(key) ? { ca, certificate, key } : undefined
}

function firstOf(config: unknown, list: string, member: string): Record<string, unknown> | undefined {
  const items = (config as Record<string, unknown> | null)?.[list]
  const item: unknown = Array.isArray(items) ? items[0] : undefined
  const value = (item as Record<string, unknown> | null | undefined)?.[member]
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}

const isData = (value: unknown): value is string => typeof value === 'string' && base64.test(value)

// The cluster's name is of lower-case letters, digits and hyphens, which may read as a number or a word of YAML: 123, 1e3, null, no.
function write({ ca, certificate, key }: Parts, cluster: string, server: string): string {
  const name = JSON.stringify(cluster)
  return `apiVersion: v1
kind: Config
clusters:
  - name: ${name}
    cluster:
      server: ${server}
      certificate-authority-data: ${ca}
users:
  - name: ${name}
    user:
      client-certificate-data: ${certificate}
      client-key-data: ${key}
contexts:
  - name: ${name}
    context:
      cluster: ${name}
      user: ${name}
current-context: ${name}
`
}
