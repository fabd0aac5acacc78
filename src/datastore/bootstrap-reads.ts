import type { Bootstrap } from './managed.ts'

export type BootstrapRead = (clusterId: string, serverToken: string) => Promise<Bootstrap>

/**
 * At most one read of a cluster's bootstrap row at a time, however many of its servers redeem or tell of Nodes: a hostile table keeps a
 * session busy as long as its limits allow, and there are few.
 * An answer is never older than the question: who asks while a read runs shares the next one with all who asked meanwhile.
 */
export function bootstrapReads(read: BootstrapRead): BootstrapRead {
  const running = new Map<string, Promise<void>>()
  const waiting = new Map<string, Promise<Bootstrap>>()

  const begin = (key: string, clusterId: string, serverToken: string): Promise<Bootstrap> => {
    const result = read(clusterId, serverToken)
    const over = () => void (waiting.has(key) || running.delete(key))
    running.set(key, result.then(over, over))
    return result
  }
  return (clusterId, serverToken) => {
    // What the row says depends on the token: after a rotation nobody gets what was read with the one before.
    const key = `${clusterId} ${serverToken}`
    const before = running.get(key)
    if (!before) return begin(key, clusterId, serverToken)
    const after = () => {
      waiting.delete(key)
      return begin(key, clusterId, serverToken)
    }
    const next = waiting.get(key) ?? before.then(after)
    waiting.set(key, next)
    return next
  }
}
