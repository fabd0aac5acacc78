/** Lists that a strategic merge joins by a key of their items, of those that a Node has. */
const keys: Record<string, string> = { conditions: 'type', addresses: 'type', taints: 'key', ownerReferences: 'uid' }

/** A patch on top of an object: null removes, objects join, lists replace but for those that have a key. */
export function merge(before: unknown, patch: unknown, name = ''): unknown {
  const key = keys[name]
  if (key && Array.isArray(before) && Array.isArray(patch)) return mergeLists(before, patch, key)
  if (!isObject(patch)) return patch
  const result: Record<string, unknown> = isObject(before) ? { ...before } : {}
  for (const [member, value] of Object.entries(patch)) {
    // `$setElementOrder/conditions` and the like only order what is joined.
    if (member.startsWith('$')) continue
    if (value === null) delete result[member]
    else result[member] = merge(result[member], value, member)
  }
  return result
}

type Item = Record<string, unknown>

function mergeLists(before: Item[], patch: Item[], key: string): Item[] {
  const changed = before.map((item) => {
    const change = patch.find((one) => one[key] === item[key])
    return change ? (merge(item, change) as Item) : item
  })
  return [...changed, ...patch.filter((item) => !before.some((one) => one[key] === item[key]))]
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
