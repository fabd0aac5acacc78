import { toLine } from './text.ts'

/** The steps of ours, in their order. PROTOCOL.md, "Report". */
export const steps = [
  'clock',
  'document.applied',
  'os.update',
  'k3s.download',
  'k3s.install',
  'k3s.join',
  'k3s.ready',
] as const
export type Step = (typeof steps)[number]

export type Report = {
  source: 'node' | 'cloud-init' | 'phone-home'
  name: string
  result: string | null
  detail: unknown
  /** One of our own steps: the only kind that moves a state. */
  step: boolean
  /** The document is applied: `document.applied ok`, or any later step whatever its result. */
  applied: boolean
  /** `k3s.ready ok` */
  ready: boolean
}

const results = new Set(['start', 'ok', 'fail'])
const stepIndex = new Map<string, number>(steps.map((step, i) => [step, i]))
const appliedIndex = steps.indexOf('document.applied')
const eventName = /^[A-Za-z0-9][A-Za-z0-9._/:-]{0,127}$/

/**
 * Understands a report's body: our own step, a cloud-init webhook event (JSON that comes without a content type), or a `phone_home` form.
 * Nothing of it is trusted: names are checked, texts cut, and unknown members dropped.
 * @returns undefined when it is none of the three
 */
export function readReport(body: string): Report | undefined {
  const json = readJson(body)
  if (json) return readStep(json) ?? readWebhook(json)
  return readForm(body)
}

function readJson(body: string): Record<string, unknown> | undefined {
  if (!body.trimStart().startsWith('{')) return undefined
  try {
    const value: unknown = JSON.parse(body)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
  } catch {
    return undefined
  }
}

function readStep(json: Record<string, unknown>): Report | undefined {
  const { step, result, detail } = json
  if (typeof step !== 'string' || typeof result !== 'string') return undefined
  const index = stepIndex.get(step)
  if (index === undefined || !results.has(result)) return undefined
  const applied = index > appliedIndex || (index === appliedIndex && result === 'ok')
  const ready = step === 'k3s.ready' && result === 'ok'
  return { source: 'node', name: step, result, detail: words({ detail }), step: true, applied, ready }
}

/** cloudinit/reporting/handlers.py, WebHookHandler: one event a POST. */
function readWebhook(json: Record<string, unknown>): Report | undefined {
  const { name, event_type, result, description, origin, duration } = json
  if (typeof name !== 'string' || !eventName.test(name) || typeof event_type !== 'string') return undefined
  const outcome = typeof result === 'string' ? toLine(result, 32) : toLine(event_type, 32)
  const detail = words({ description, event_type, origin, duration })
  return { source: 'cloud-init', name, result: outcome, detail, step: false, applied: false, ready: false }
}

/** cloudinit/config/cc_phone_home.py posts `instance_id=…&hostname=…&fqdn=…` and public keys. */
function readForm(body: string): Report | undefined {
  const form = new URLSearchParams(body)
  const fields = ['instance_id', 'hostname', 'fqdn', 'pub_key_rsa', 'pub_key_ecdsa', 'pub_key_ed25519', 'pub_key_dsa']
  if (!fields.some((field) => form.has(field))) return undefined
  const detail = words(Object.fromEntries(fields.map((field) => [field, form.get(field) ?? undefined])))
  return { source: 'phone-home', name: 'phone_home', result: 'ok', detail, step: false, applied: false, ready: false }
}

/** Strings and numbers of a report, fit to be shown: no control characters, at most 2,000 characters each. */
function words(fields: Record<string, unknown>): Record<string, string | number> {
  const kept: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === 'number' && Number.isFinite(value)) kept[name] = value
    else if (typeof value === 'string' && value !== '') kept[name] = toLine(value, 2_000)
  }
  return kept
}
