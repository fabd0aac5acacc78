import type { DocumentInput } from './input.ts'
import type { Json, ProfileSpec, Role } from './profile.ts'

/** What a text may hold that shells, YAML, JSON, systemd and Handlebars trip over, all in one. */
export const hostileText = `'"\\n{{x}} %h $(id) \`id\` $HOME # : - [] {} & * ! | > ? @ ~ \\ \n# EOF\nEOF\n---\n...\n\t\u0085\u009f\u2028\u2029\ufeff é 💥 \ue000\r`

/** Texts that are given by whoever registers devices; a serial and a hostname have their alphabets, and these use them to the full. */
const devices = {
  plain: { serial: 'SN-0001', hostname: 'sn-0001', text: 'text' },
  hostile: { serial: '0: #&/+-.1', hostname: '0x10', text: hostileText },
} as const

/**
 * An input for lint, as one device of a profile could have it.
 * @param kind what stands in the device's own fields; `vars` also in those of the profile, which its admin chose
 */
export function sampleInput(spec: ProfileSpec, role: Role, kind: 'plain' | 'hostile' | 'vars'): DocumentInput {
  const { serial, hostname, text } = devices[kind === 'plain' ? 'plain' : 'hostile']
  const { vars } = spec
  const server = role === 'server'
  const hash = '0'.repeat(64)
  const binaries = ['amd64', 'arm64', 'arm'].map((arch) => ({
    arch,
    url: `https://example.net/k3s-${arch}`,
    sha256: hash,
  }))
  return {
    device: { serial, hostname, labels: { label: text }, vars: { var: text }, note: text },
    cluster: { name: 'cluster', version: 'v1.36.3+k3s1', api_endpoint: 'https://k3s.example.net:6443' },
    profile: { name: spec.name, revision: 1, packages: spec.packages },
    role,
    enrollment: { id: 'enr_0' },
    vars: kind === 'vars' ? (hostileVars(vars) as Record<string, Json>) : vars,
    server: {
      url: 'https://example.net',
      pins: 'sha256//AA==;sha256//BB==',
      ca: pem('CERTIFICATE'),
      audience: 'https://example.net',
    },
    k3s: {
      config: `node-name: "${hostname}"\ntoken-file: "/etc/rancher/k3s/token"\n`,
      unit: server ? 'k3s' : 'k3s-agent',
      token: server ? '' : `K10${hash}::abcdef.0123456789abcdef`,
      files: server ? [{ path: '/etc/rancher/k3s/datastore-ca.pem', content: pem('CERTIFICATE') }] : [],
      datastore: 'postgres',
      env: server ? { KINE_DATASTORE_MAX_OPEN_CONNECTIONS: '30' } : {},
      images: [{ arch: 'amd64', url: 'https://example.net/images.tar.zst', sha256: hash }],
      registries: 'mirrors:\n  "*":\n    endpoint: ["https://example.net"]\n',
      selinux: [{ release: 'el9', url: 'https://example.net/k3s-selinux.rpm', sha256: hash }],
      firewall: { ports: ['10250/tcp', '8472/udp'], networks: ['10.42.0.0/16', '10.43.0.0/16'] },
      container: null,
      install: {
        env: { INSTALL_K3S_VERSION: 'v1.36.3+k3s1', INSTALL_K3S_EXEC: role },
        script_url: 'https://example.net/install.sh',
        script_sha256: hash,
        binaries,
        binary: binaries[0] as (typeof binaries)[number],
      },
    },
    secret: {
      report_url: 'https://example.net/v1/report/token',
      join: server ? 'ticket' : '',
      node: server ? 'credential' : '',
      node_password: '0'.repeat(32),
    },
  }
}

const pem = (kind: string) => `-----BEGIN ${kind}-----\nAAAA\n-----END ${kind}-----\n`

function hostileVars(value: Json): Json {
  if (typeof value === 'string') return hostileText
  if (Array.isArray(value)) return value.map(hostileVars)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, hostileVars(inner)]))
}
