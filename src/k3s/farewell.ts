import type { Datastore } from './cluster.ts'

/** A machine that is revoked or retired, and what it was in its cluster. */
export type Leaver = {
  end: 'revoked' | 'retired'
  role: 'server' | 'agent'
  datastore: Datastore['kind']
  /** A server that was given the cluster's server token. */
  redeemed: boolean
  /** The cluster was on this machine alone and begins anew. */
  emptied: boolean
}

/** What ends with it, and what nobody can take from it. Sentences for its timeline. */
export type Farewell = { ends: string[]; remains: string[] }

/**
 * What revoking and retiring reach in a cluster (DESIGN.md, "K3s rules"): an admin who knows what is left can end that too.
 */
export function farewell(leaver: Leaver): Farewell {
  return { ends: endsOf(leaver), remains: leaver.end === 'revoked' ? remainsOf(leaver) : [] }
}

function endsOf({ end, role, datastore, redeemed, emptied }: Leaver): string[] {
  if (emptied) return ['the cluster was on this machine alone: it is virgin again, and its agents must join again']
  const ends = ['its Node is deleted by a server of the cluster']
  if (end === 'revoked') ends.push('its Node is not let in again under that name (node-ban)')
  if (role === 'agent') ends.unshift('its join token is deleted by a server of the cluster')
  if (role === 'server' && redeemed && datastore === 'managed')
    ends.unshift('its datastore login is ended, and its sessions with it')
  return ends
}

function remainsOf({ role, datastore, redeemed, emptied }: Leaver): string[] {
  if (role === 'agent')
    return [
      "its kubelet's certificate is good until it expires: it can be no Node, but read what any kubelet may read",
      // system:kube-proxy and system:k3s-controller, as K3s v1.36.3 signs them for whoever has the first.
      "its other certificates have names that all agents share: it can read Nodes and pods and write any Node's status, until the cluster has new CAs",
    ]
  if (!redeemed) return []
  if (emptied) return ['what it holds of the old cluster']
  const remains = ["it knows the cluster's server token and CA keys: rotate both, then say so (verb rotated)"]
  if (datastore === 'postgres' || datastore === 'mysql' || datastore === 'etcd')
    remains.push("it knows how to log in to the cluster's datastore: change that password or certificate")
  return remains
}
