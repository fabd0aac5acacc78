import { z } from '@hono/zod-openapi'
import { architectures, fileName, reservedNames } from './release.ts'

const clusterName = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'lower-case letters, digits and inner hyphens, at most 63')

export const datastoreKinds = ['managed', 'sqlite', 'postgres', 'mysql', 'etcd', 'embedded-etcd'] as const

/** Where a cluster keeps its state. `endpoint` may hold a password: it is sealed at rest and never shown again. */
export const Datastore = z.strictObject({
  kind: z.enum(datastoreKinds),
  endpoint: z.string().min(1).max(4_096).optional(),
  cafile: z.string().max(65_536).optional().describe('PEM text, written to a root-only file on servers'),
  certfile: z.string().max(65_536).optional().describe('PEM text'),
  keyfile: z.string().max(65_536).optional().describe('PEM text'),
})
export type Datastore = z.output<typeof Datastore>

/** What stands before a cluster's servers: its VIPs go into their certificates, its addresses into haproxy.cfg. */
export const LoadBalancer = z
  .strictObject({
    vips: z.array(z.string().max(64)).max(8).default([]).describe('Virtual IP addresses that carry the API endpoint'),
    addresses: z
      .record(z.string().max(253), z.string().max(253))
      .default({})
      .describe('Where a server answers, by its hostname; else the hostname itself'),
  })
  .openapi('LoadBalancer')
export type LoadBalancer = z.output<typeof LoadBalancer>

const webUrl = z.url({ protocol: /^https$/, error: 'must be an https URL' }).max(512)
const chartVersion = z.string().regex(/^v?\d{1,3}\.\d{1,3}\.\d{1,3}$/, 'a version such as 2.15.1')

/** A Rancher that the cluster becomes part of. */
export const RancherImport = z.strictObject({
  url: webUrl.describe('Of the Rancher, e.g. https://rancher.example.net'),
  token: z
    .string()
    .regex(/^[\x21-\x7e]{1,512}$/, 'printable characters without blanks, at most 512')
    .optional()
    .describe('API token (`token-…:…`): the cluster is made there by it'),
  manifest_url: webUrl.optional().describe('Of a cluster that was made there by hand, instead of a token'),
  ca: z.string().max(65_536).optional().describe('PEM, where its certificate is from a private authority'),
})
export type RancherImport = z.output<typeof RancherImport>

/** A Rancher that is installed on the cluster itself. */
export const RancherInstall = z.strictObject({
  version: chartVersion,
  cert_manager_version: chartVersion,
  hostname: z.string().min(1).max(253),
  bootstrap_password: z.string().regex(/^[\x21-\x7e]{12,128}$/, '12 to 128 printable characters without blanks'),
  replicas: z.int().min(1).max(9).default(3),
  allow_unsupported: z.boolean().default(false),
})
export type RancherInstall = z.output<typeof RancherInstall>

/** One of the two: sealed at rest, and never shown again. */
export const Rancher = z
  .strictObject({ import: RancherImport.optional(), install: RancherInstall.optional() })
  .refine((it) => (it.import === undefined) !== (it.install === undefined), 'give either import or install')
  .openapi('Rancher')
export type Rancher = z.output<typeof Rancher>

/** How a cluster that Rollcall did not make is reached: sealed at rest, and never shown again. */
export const ClusterAccess = z
  .strictObject({
    endpoint: webUrl.describe('Of its API as this server reaches it, e.g. https://k3s.example.net:6443'),
    ca: z.string().min(1).max(65_536).describe('PEM of the authority that signed its certificate; no other is trusted'),
    token: z
      .string()
      .regex(/^[\x21-\x7e]{1,8192}$/, 'printable characters without blanks, at most 8192')
      .describe('Of the service account that `rollcall cluster access-manifest` makes there'),
  })
  .openapi('ClusterAccess')
export type ClusterAccess = z.output<typeof ClusterAccess>

/** PROTOCOL.md, `/clusters`. */
export const ClusterSpec = z
  .strictObject({
    name: clusterName,
    version: z
      .string()
      .regex(/^v1\.\d{1,3}\.\d{1,3}(?:-rc\d{1,2})?\+k3s\d{1,2}$/, 'a K3s release such as v1.36.3+k3s1'),
    api_endpoint: z.string().max(512).optional().describe('https://name:6443, what agents and kubeconfigs use'),
    ca_hash: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    allow_unpinned: z.boolean().default(false),
    allow_weak_servers: z.boolean().default(false),
    datastore: Datastore,
    tls_sans: z.array(z.string().min(1).max(253)).max(64).default([]),
    load_balancer: LoadBalancer.default({ vips: [], addresses: {} }),
    rancher: Rancher.optional(),
    access: ClusterAccess.optional().describe('A cluster that Rollcall did not make; it takes agents alone'),
    escrow_kubeconfig: z
      .boolean()
      .default(false)
      .describe('A server uploads its kubeconfig, which is all of the cluster; kept sealed'),
    // Said by hand for the OpenAPI document: its generator cannot follow the recursion of z.json().
    settings: z
      .record(z.string(), z.json())
      .openapi({ type: 'object', additionalProperties: true })
      .default({})
      .describe('K3s server settings shared by all servers'),
    registries: z
      .string()
      .max(65_536)
      .optional()
      .describe('Text of /etc/rancher/k3s/registries.yaml on every node; sealed, and never shown again'),
  })
  .openapi('ClusterInput')
export type ClusterSpec = z.output<typeof ClusterSpec>

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const hashed = z.strictObject({ sha256 })

/** What runs as root on a node, by hash. PROTOCOL.md, `/versions`. */
export const VersionSpec = z
  .strictObject({
    version: ClusterSpec.shape.version,
    artifacts: z.partialRecord(z.enum(architectures), hashed),
    install_script: hashed,
    files: z
      .record(z.string().regex(fileName, 'must be a plain file name'), hashed)
      .refine((files) => Object.keys(files).length <= 64, 'at most 64')
      .refine(
        (files) => !Object.keys(files).some((name) => reservedNames.has(name)),
        'binaries, lists and install.sh are no further files',
      )
      .optional()
      .describe('Image archives (k3s-airgap-images-amd64.tar.zst) and packages that nodes may be given, by name'),
  })
  .openapi('Version')
export type VersionSpec = z.output<typeof VersionSpec>
