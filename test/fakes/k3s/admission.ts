import type { Json } from './objects.ts'
import { policies, policyBindings } from './resources.ts'
import { ApiError, label, type ObjectStore, type Resource } from './store.ts'

/** What a policy is asked about. `part`: `status`, where only that is changed. */
export type Change = {
  operation: 'CREATE' | 'UPDATE' | 'DELETE'
  resource: Resource
  part?: string | undefined
  name: string
  user: string
}

/**
 * Validating admission policies, as far as Rollcall writes them: conditions on who asks and on the object's name, without parameters.
 * @throws ApiError 422, as the real API server says it, if a bound policy denies; an expression that this cannot read denies too
 */
export async function admit(store: ObjectStore, change: Change): Promise<void> {
  const bindings = await store.list(policyBindings)
  for (const policy of bindings.length > 0 ? await store.list(policies) : []) {
    const binding = bindings.find(({ spec }) => spec.policyName === policy.metadata.name)
    if (!binding?.spec.validationActions.includes('Deny') || !concerns(policy, change)) continue
    for (const { expression, message } of policy.spec.validations) {
      if (holds(expression, change, false)) continue
      const who = `ValidatingAdmissionPolicy '${policy.metadata.name}' with binding '${binding.metadata.name}'`
      const why = message ?? `failed expression: ${expression}`
      throw new ApiError(
        422,
        'Invalid',
        `${label(change.resource, change.name)} is forbidden: ${who} denied request: ${why}`,
      )
    }
  }
}

type Rule = { apiGroups: string[]; resources: string[]; operations: string[] }

function concerns({ spec }: Json, change: Change): boolean {
  const { group, plural } = change.resource
  const has = (list: string[], value: string) => list.includes('*') || list.includes(value)
  const resource = change.part ? `${plural}/${change.part}` : plural
  const isNamed = (spec.matchConstraints.resourceRules as Rule[]).some(
    (rule) => has(rule.apiGroups, group) && has(rule.resources, resource) && has(rule.operations, change.operation),
  )
  const conditions = (spec.matchConditions ?? []) as { expression: string }[]
  return isNamed && conditions.every(({ expression }) => holds(expression, change, true))
}

const texts = String.raw`(?:'([^'\\]*)'|"([^"\\]*)")`
const comparison = new RegExp(
  String.raw`^\s*(object\.metadata\.name|request\.userInfo\.username)\s*([!=]=)\s*${texts}\s*$`,
)

/** The few forms of CEL that a ban needs: a name or a user compared with a text, and `false`. */
function holds(expression: string, { name, user }: Change, unreadable: boolean): boolean {
  if (expression.trim() === 'false') return false
  const [, what, operator, single, double] = comparison.exec(expression) ?? []
  if (!what) return unreadable
  return ((what.startsWith('object') ? name : user) === (single ?? double)) === (operator === '==')
}
