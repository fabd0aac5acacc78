import type { Datastore } from './cluster.ts'

/** What a node's firewall must let in, as firewalld writes ports, and the networks of pods and services, which it must trust. */
export type Firewall = { ports: string[]; networks: string[] }

const flannel: Record<string, string[]> = {
  vxlan: ['8472/udp'],
  'wireguard-native': ['51820/udp', '51821/udp'],
}

/**
 * What K3s' nodes say to each other (docs.k3s.io, Installation Requirements, "Networking").
 * @param settings of the cluster, which `checkSettings` accepted
 */
export function firewall(
  role: 'server' | 'agent',
  datastore: Datastore['kind'],
  settings: Readonly<Record<string, unknown>>,
): Firewall {
  const backend = (settings['flannel-backend'] as string | undefined) ?? 'vxlan'
  return {
    ports: [
      ...(role === 'server' ? ['6443/tcp'] : []),
      ...(role === 'server' && datastore === 'embedded-etcd' ? ['2379-2380/tcp'] : []),
      '10250/tcp',
      ...(settings['embedded-registry'] === true ? ['5001/tcp'] : []),
      ...(flannel[backend] ?? []),
    ],
    networks: [
      ...networks(settings, 'cluster-cidr', '10.42.0.0/16'),
      ...networks(settings, 'service-cidr', '10.43.0.0/16'),
    ],
  }
}

// A list, of which each item may be one of K3s' own lists. They reach a shell as words: what is no network stays out.
function networks(settings: Readonly<Record<string, unknown>>, key: string, otherwise: string): string[] {
  const given = (settings[key] as readonly string[] | undefined) ?? [otherwise]
  return given.flatMap((value) => value.split(',')).filter((network) => /^[0-9A-Fa-f.:]+\/\d+$/.test(network))
}
