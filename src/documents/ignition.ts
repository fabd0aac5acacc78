import { checkIgnitionRules } from './ignition-rules.ts'
import { IgnitionConfig } from './ignition-schema.ts'
import type { Reason } from './template-error.ts'
import { readYaml } from './yaml-text.ts'

/** Reads an Ignition template's output: YAML 1.2, so that `mode: 0600` is 600 and refused, not silently something else. Throws as `readYaml`. */
export function parseIgnition(text: string): unknown {
  return readYaml(text, '1.2')
}

/** What is wrong with an Ignition config of spec 3.3.0; empty if a machine can boot with it. Names paths and rules, never values. */
export function checkIgnition(config: unknown): Reason[] {
  const parsed = IgnitionConfig.safeParse(config)
  if (parsed.error) {
    return parsed.error.issues.map((issue) => ({
      code: issue.code === 'unrecognized_keys' ? 'unknown_key' : 'shape',
      message: `${issue.path.join('.') || 'config'}: ${issue.message}`,
    }))
  }
  return checkIgnitionRules(parsed.data)
}
