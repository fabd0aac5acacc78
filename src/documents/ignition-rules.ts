import type { IgnitionConfig } from './ignition-schema.ts'
import type { Reason } from './template-error.ts'

/** What Ignition's field tables cannot say, and its validator would refuse, or would let pass to fail at first boot. */
export function checkIgnitionRules(config: IgnitionConfig): Reason[] {
  return [...doublePaths(config), ...doubleNames(config), ...contents(config)]
}

function doublePaths({ storage }: IgnitionConfig): Reason[] {
  const nodes = [...(storage?.files ?? []), ...(storage?.directories ?? []), ...(storage?.links ?? [])]
  return doubles(nodes.map((node) => node.path)).map((path) => rule(`storage: ${path} is written twice`))
}

function doubleNames({ systemd, passwd }: IgnitionConfig): Reason[] {
  const units = doubles((systemd?.units ?? []).map((unit) => unit.name))
  const users = doubles((passwd?.users ?? []).map((user) => user.name))
  return [...units, ...users].map((name) => rule(`${name} is named twice`))
}

function contents({ storage, systemd }: IgnitionConfig): Reason[] {
  const files = (storage?.files ?? []).flatMap(({ path, contents, append, overwrite }) => {
    const all = [...(contents ? [contents] : []), ...(append ?? [])]
    if (overwrite && contents?.source == null) return [rule(`storage: ${path} overwrites without a source`)]
    return all.flatMap(({ source }) =>
      source?.startsWith('data:') && !isDataUrl(source) ? [rule(`storage: ${path} has no valid data URL`)] : [],
    )
  })
  const units = (systemd?.units ?? []).flatMap(({ name, enabled, contents, mask }) => {
    if (enabled && mask) return [rule(`systemd: ${name} is enabled and masked`)]
    return enabled && contents != null && !/^\[Install\]$/m.test(contents)
      ? [rule(`systemd: ${name} is enabled and has no [Install]`)]
      : []
  })
  return [...files, ...units]
}

function isDataUrl(text: string): boolean {
  const found = /^data:[^,]*?(;base64)?,/.exec(text)
  if (!found) return false
  const body = text.slice(found[0].length)
  // Whatever is not base64 is passed over, and bytes are missing at the end: quicker than looking at each letter.
  if (found[1]) return body.length % 4 === 0 && Buffer.byteLength(body, 'base64') === Buffer.from(body, 'base64').length
  return !/%(?![0-9A-Fa-f]{2})|[^\x21-\x7e]/.test(body)
}

function doubles(names: string[]): string[] {
  const seen = new Set<string>()
  return names.filter((name) => seen.size === seen.add(name).size)
}

const rule = (message: string): Reason => ({ code: 'rule', message })
