/**
 * One thing that a look at a datastore found, in words for an admin. `error`: K3s will not come up on it; `warning`: it will, but not for long or
 * not safely; `note`: looks wrong in K3s' log and is not. Never a secret.
 */
export type Finding = { severity: 'error' | 'warning' | 'note'; code: string; text: string }

export const error = (code: string, text: string): Finding => ({ severity: 'error', code, text })
export const warning = (code: string, text: string): Finding => ({ severity: 'warning', code, text })
export const note = (code: string, text: string): Finding => ({ severity: 'note', code, text })

/** What a look is told: where, the certificates as K3s gets them, and what it should expect there. */
export type Look = {
  endpoint: string
  cafile?: string | undefined
  certfile?: string | undefined
  keyfile?: string | undefined
  /** Servers that the cluster has or will have, for the connections that they need */
  servers: number
  /** The cluster's own bootstrap key (k3s/bootstrap.ts): any other one belongs to another cluster. */
  bootstrapName: string
}

/** Connections that one K3s server may hold at its worst (reference: kine#651, K3s issues 9596 and 10733). */
const perServer = 40
const spare = 10

/** Whether the datastore lets in as many connections as the cluster's servers may want. */
export function connectionBudget(most: number, servers: number): Finding[] {
  const wanted = perServer * servers + spare
  if (most >= wanted) return []
  const text = `it allows ${most} connections, and ${servers} servers may want ${wanted}: raise max_connections`
  return [warning('too_few_connections', text)]
}

/** What two clusters on one datastore look like. K3s issue 10363. */
export function otherClusters(names: readonly string[], own: string): Finding[] {
  if (names.every((name) => name === own)) return []
  const text =
    'it holds the data of another cluster, or of this one under another token: give each cluster a database of its own'
  return [error('other_cluster', text)]
}
