import { parseDocument } from 'yaml'
import { z } from 'zod'
import type { FieldError } from '../errors.ts'

/** Where K3s looks for it on every node. */
export const registriesPath = '/etc/rancher/k3s/registries.yaml'

const text = z.string().max(4_096)
const endpoint = text.regex(/^https?:\/\/\S+$/, 'must be an http or https URL')

/** K3s' registries.yaml (docs.k3s.io, "Private Registry Configuration"); a key that K3s does not know is a mistake that nobody would notice. */
const Registries = z.strictObject({
  mirrors: z
    .record(
      text,
      z
        .strictObject({ endpoint: z.array(endpoint).max(32).optional(), rewrite: z.record(text, text).optional() })
        .nullable(),
    )
    .optional(),
  configs: z
    .record(
      text,
      z.strictObject({
        auth: z
          .strictObject({
            username: text.optional(),
            password: text.optional(),
            auth: text.optional(),
            identity_token: text.optional(),
          })
          .optional(),
        tls: z
          .strictObject({
            ca_file: text.optional(),
            cert_file: text.optional(),
            key_file: text.optional(),
            insecure_skip_verify: z.boolean().optional(),
          })
          .optional(),
      }),
    )
    .optional(),
})

/** What is wrong with the text of a registries.yaml; empty if K3s can use it. No reason repeats what it holds: it may be a password. */
export function checkRegistries(yaml: string): FieldError[] {
  const parsed = parse(yaml)
  if ('problem' in parsed) return [{ path: 'registries', reason: parsed.problem }]
  const result = Registries.safeParse(parsed.value)
  return (result.error?.issues ?? []).map((issue) => ({
    path: ['registries', ...issue.path].join('.'),
    reason: issue.code === 'unrecognized_keys' ? `has no member ${issue.keys.join(', ')}` : shapeOf(issue.message),
  }))
}

function parse(yaml: string): { value: unknown } | { problem: string } {
  const document = parseDocument(yaml, { merge: false, uniqueKeys: true })
  const [error] = document.errors
  if (error) return { problem: `is no YAML (${error.code}, line ${error.linePos?.[0].line ?? 1})` }
  try {
    return { value: document.toJS({ maxAliasCount: 16 }) }
  } catch {
    return { problem: 'has too many aliases' }
  }
}

/**
 * Registries that an admin named for a cluster, as `host[:port]`: what its mirrors lead to, and its `system-default-registry`. What is mirrored
 * (`docker.io`) is none of them: only K3s' own containerd goes to the mirror instead.
 * @param yaml a registries.yaml that was checked; empty: none
 */
export function ownRegistries(yaml: string, systemDefault: unknown): ReadonlySet<string> {
  const parsed = yaml === '' ? {} : parse(yaml)
  const { mirrors = {} } = Registries.safeParse('value' in parsed ? parsed.value : {}).data ?? {}
  const endpoints = Object.values(mirrors).flatMap((mirror) => mirror?.endpoint ?? [])
  const hosts = endpoints.filter((url) => URL.canParse(url)).map((url) => new URL(url).host)
  return new Set([...hosts, ...(typeof systemDefault === 'string' ? [systemDefault] : [])])
}

// zod's own words name types, never values; those of a pattern are ours.
const shapeOf = (message: string) => message.replace(/^Invalid input: /, '')
