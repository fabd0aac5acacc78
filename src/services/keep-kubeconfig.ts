import { readYaml } from '../documents/yaml-text.ts'
import { AppError } from '../errors.ts'
import { escrowsKubeconfig, writeKubeconfig } from '../store/kubeconfig.ts'
import type { NodeHolder } from '../store/node-credentials.ts'
import { place } from './cluster-view.ts'
import type { Context } from './context.ts'

/** A kubeconfig on its way: read only once it is known to be wanted. */
export type KubeconfigUpload = { text: () => Promise<string> }

/**
 * Keeps, sealed, the kubeconfig that a server uploads for its own cluster: all of the cluster, hence off unless the admin asked for it.
 * @throws AppError `not_found` unless the cluster escrows it, `request_invalid` for what is no kubeconfig
 */
export async function keepKubeconfig(
  { sql, vault, now }: Pick<Context, 'sql' | 'vault' | 'now'>,
  { clusterId }: NodeHolder,
  upload: KubeconfigUpload,
): Promise<void> {
  if (!(await escrowsKubeconfig(sql, clusterId))) throw new AppError('not_found')
  const text = await upload.text()
  if (!isKubeconfig(text)) throw new AppError('request_invalid', { detail: 'the body is no kubeconfig' })
  if (!(await writeKubeconfig(sql, clusterId, vault.seal(place.kubeconfig(clusterId), text), now())))
    throw new AppError('not_found')
}

function isKubeconfig(text: string): boolean {
  try {
    const config: unknown = readYaml(text, '1.2')
    const { kind, clusters, users } = (config ?? {}) as Record<string, unknown>
    return kind === 'Config' && Array.isArray(clusters) && Array.isArray(users)
  } catch {
    return false
  }
}
