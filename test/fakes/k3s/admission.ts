import type { Json } from './objects.ts'
import { policies, policyBindings } from './resources.ts'
import { ApiError, label, type ObjectStore, type Resource } from './store.ts'

/**
 * Validating admission policies, for what Rollcall writes: conditions on the object's name, without parameters.
 * @throws ApiError 422, as the real API server says it, if a bound policy denies; an expression that this cannot read denies too
 */
export async function admit(
  store: ObjectStore,
  operation: 'CREATE' | 'UPDATE' | 'DELETE',
  resource: Resource,
  object: Json,
) {
  const bindings = await store.list(policyBindings)
  for (const policy of bindings.length > 0 ? await store.list(policies) : []) {
    const binding = bindings.find(({ spec }) => spec.policyName === policy.metadata.name)
    if (!binding?.spec.validationActions.includes('Deny') || !concerns(policy, operation, resource)) continue
    for (const { expression, message } of policy.spec.validations) {
      if (holds(expression, object)) continue
      const who = `ValidatingAdmissionPolicy '${policy.metadata.name}' with binding '${binding.metadata.name}'`
      const why = message ?? `failed expression: ${expression}`
      throw new ApiError(
        422,
        'Invalid',
        `${label(resource, object.metadata.name)} is forbidden: ${who} denied request: ${why}`,
      )
    }
  }
}

type Rule = { apiGroups: string[]; resources: string[]; operations: string[] }

function concerns({ spec }: Json, operation: string, { group, plural }: Resource): boolean {
  const has = (list: string[], value: string) => list.includes('*') || list.includes(value)
  return (spec.matchConstraints.resourceRules as Rule[]).some(
    (rule) => has(rule.apiGroups, group) && has(rule.resources, plural) && has(rule.operations, operation),
  )
}

const name = String.raw`object\.metadata\.name`
const text = String.raw`(?:'([^'\\]*)'|"([^"\\]*)")`

/** The few forms of CEL that a ban needs: `object.metadata.name != 'a'`, `!(object.metadata.name in ['a', 'b'])`, `false`. */
function holds(expression: string, { metadata }: Json): boolean {
  const unequal = new RegExp(`^\\s*${name}\\s*!=\\s*${text}\\s*$`).exec(expression)
  if (unequal) return metadata.name !== (unequal[1] ?? unequal[2])
  const among = new RegExp(`^\\s*!\\s*\\(\\s*${name}\\s+in\\s+\\[([^\\]]*)\\]\\s*\\)\\s*$`).exec(expression)
  if (!among) return false
  const names = [...(among[1] ?? '').matchAll(new RegExp(text, 'g'))].map((found) => found[1] ?? found[2])
  return !names.includes(metadata.name)
}
