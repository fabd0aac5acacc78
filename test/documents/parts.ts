import { type Builtin, ProfileSpec, type Role } from '../../src/documents/profile.ts'
import { builtinTemplates } from '../../src/services/builtin-templates.ts'
import { type ComposeParts, documentComposer } from '../../src/services/compose-document.ts'
import type { Settings } from '../../src/services/context.ts'

/** Stands for the node's script, whose own tests are in test/shell: goldens are to change with the documents alone. */
export const script = `#!/bin/sh
# Stands for the node's script, with what shells and YAML trip over: 'single' "double" \`back\` $dollar \${brace} {{mustache}} \\ % # :
cat <<'EOF'
a here-document of its own
EOF
echo 'end'
`

export const builtins = { ...builtinTemplates(), files: { 'rollcall-node.sh': script, 'rollcall-agent.sh': script } }

const certificate = (name: string) => {
  const base64 = Buffer.from(`${name} ${'x'.repeat(90)}`).toString('base64')
  return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`
}

export const settings: Settings = {
  publicUrl: 'https://rollcall.example.net:8443',
  publicUrlGuessed: false,
  audiences: ['https://rollcall.example.net:8443'],
  pins: 'sha256//BExvzJd3b1OKvA1NnP1Pp0tqQyM8Vn0V0S3Yq9mCqhE=;sha256//qWlHWdYd0aF5Ww3m8bC4pZ7oFxkJ1tqvG2sVbJYx2hU=',
  ca: certificate('our own CA'),
  k3s: {
    installScriptUrl: 'https://raw.githubusercontent.com/k3s-io/k3s/{version}/install.sh',
    artifactUrl: 'https://github.com/k3s-io/k3s/releases/download',
  },
}

export const systems = ['debian', 'rocky', 'fcos', 'flatcar'] as const
export type System = (typeof systems)[number]

/** One device of one profile, everything given; a cluster on PostgreSQL that verifies its server. */
export function partsOf(
  template: Builtin | { source: string },
  role: Role,
  change: Partial<ComposeParts> = {},
): ComposeParts {
  const ignition = template === 'builtin:fcos' || template === 'builtin:flatcar'
  const spec = ProfileSpec.parse({
    name: 'edge',
    document: ignition ? 'ignition' : 'cloud-init',
    role,
    template,
    packages: ['open-iscsi', 'nfs-common'],
  })
  return {
    role,
    device: { id: 'dev_06e9k2m4x0', serial: 'C02/7 #42', hostname: 'c02-7-42', labels: {}, vars: {}, note: '' },
    profile: { id: `prf_${JSON.stringify(template)}`, name: 'edge', revision: 3, spec },
    cluster: {
      id: 'clu_06e9k2m4x1',
      version: 1,
      name: 'site-a',
      k3sVersion: 'v1.36.3+k3s1',
      apiEndpoint: 'https://k3s.site-a.example.net:6443',
      caHash: '7'.repeat(64),
      datastore: {
        kind: 'postgres',
        endpoint: 'postgres://k3s_a:p%40ss%25word@db.example.net:5432/k3s_a?sslmode=verify-full',
        cafile: certificate('the datastore'),
      },
      tlsSans: ['10.20.0.5', 'k3s.site-a.example.net'],
      takesServers: true,
      settings: {
        'secrets-encryption': true,
        disable: ['traefik', 'servicelb'],
        'cluster-cidr': ['10.42.0.0/16'],
        'protect-kernel-defaults': true,
        selinux: true,
        'kubelet-arg': ['max-pods=64'],
      },
      registries: null,
      allowUnpinned: false,
      pinned: {
        version: 'v1.36.3+k3s1',
        artifacts: { amd64: { sha256: 'a1'.repeat(32) }, arm64: { sha256: 'b2'.repeat(32) } },
        install_script: { sha256: 'c3'.repeat(32) },
      },
    },
    enrollment: {
      id: 'enr_06e9k2m4x2',
      join: role === 'server' ? 'join-ticket_0123456789' : `K10${'7'.repeat(64)}::abcdef.0123456789abcdef`,
      report: 'report-token_0123456789',
      node: role === 'server' ? 'node-credential_0123456789' : '',
    },
    ...change,
  }
}

const keys = { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32).fill(5) }

/** Renders as a claim would. */
export const documents = documentComposer({ settings, keys }, builtins)
