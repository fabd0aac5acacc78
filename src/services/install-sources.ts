import { AppError } from '../errors.ts'
import { installFrom } from '../k3s/install.ts'
import { type MirrorSources, mirrorSources } from '../k3s/mirror-sources.ts'
import type { ClusterParts } from './claim-parts.ts'
import type { Mirror, Settings } from './context.ts'

/** Below it, `<version>/<file>` is served in the layout of K3s' releases (http/assets.ts). */
export const mirrorPath = '/assets/k3s'

/**
 * What a cluster's nodes install from: this server's mirror if it holds the version, else what the settings name.
 * @throws AppError `state_conflict` if hashes are missing or differ, or if the version must come from the mirror and is not there
 */
export function installSources(
  settings: Settings,
  mirror: Mirror | undefined,
  { k3sVersion: version, pinned, allowUnpinned }: Pick<ClusterParts, 'k3sVersion' | 'pinned' | 'allowUnpinned'>,
): MirrorSources & { mirrored: boolean } {
  const release = mirror?.find(version)
  if (release) {
    const prefix = `${settings.publicUrl}${mirrorPath}`
    return { ...mirrorSources({ release, prefix, pinned, allowUnpinned }), mirrored: true }
  }
  if (mirror?.only) {
    const detail = `${version} is not in this server's mirror, and nothing else may be named: rollcall mirror add ${version}`
    throw new AppError('state_conflict', { detail })
  }
  const { installScriptUrl: scriptUrl, artifactUrl } = settings.k3s
  return {
    ...installFrom({ version, scriptUrl, artifactUrl, pinned, allowUnpinned }),
    images: [],
    selinux: [],
    mirrored: false,
  }
}
