import type { Role } from '../documents/profile.ts'
import type { ContentType } from '../documents/rendered.ts'
import { templateError } from '../documents/template-error.ts'
import { AppError } from '../errors.ts'
import type { ContainerForm } from '../k3s/container.ts'
import { findDevice } from '../store/devices.ts'
import { findProfile } from '../store/profiles.ts'
import { claimParts } from './claim-parts.ts'
import { type ComposeParts, documentComposer } from './compose-document.ts'
import type { MountedFile } from './container-parts.ts'
import type { Context, Settings } from './context.ts'
import { keyOf } from './read-devices.ts'
import { templateThread } from './template-thread.ts'

export type Preview = {
  content_type: ContentType | (typeof containerTypes)[ContainerForm]
  document: string
  /** Of a container: what it mounts */
  files?: MountedFile[]
  profile_revision: number
  role: Role
  cluster: string
}

const containerTypes = {
  'docker-run': 'text/x-shellscript',
  compose: 'application/yaml',
  quadlet: 'text/plain',
} as const

const composers = new WeakMap<Settings, ReturnType<typeof documentComposer>>()

/**
 * The document that a device would be given under a profile, secrets as placeholders; nothing is written.
 * @param as instead, what runs its K3s in a container
 * @throws AppError `not_found`, `state_conflict` for a device without a cluster, `invalid` with what is wrong with the template
 */
export async function previewDocument(
  context: Context,
  profileName: string,
  { serial, as }: { serial: string; as?: ContainerForm | undefined },
): Promise<Preview> {
  const profile = await findProfile(context.db, profileName)
  const found = await findDevice(context.db, keyOf(serial))
  if (!profile || !found) throw new AppError('not_found')
  const { device } = found
  if (device.clusterId === null || device.hostname === null) {
    throw new AppError('state_conflict', { detail: `${device.serial} has no cluster yet` })
  }
  const role = (device.role ?? profile.spec.role) as Role
  const cluster = await claimParts(context).cluster(device.clusterId, -1)
  const { id, hostname, labels, vars, note } = device
  const parts: ComposeParts = {
    device: { id, serial: device.serial, hostname, labels, vars: vars as ComposeParts['device']['vars'], note },
    role,
    profile: { id: profile.id, name: profile.name, revision: profile.revision, spec: profile.spec },
    cluster,
    enrollment: { id: 'enr_preview', join: 'preview', report: 'preview', node: 'preview' },
  }
  const about = { profile_revision: profile.revision, role, cluster: cluster.name }
  if (as) {
    const { text, files } = composerOf(context).container(as, parts)
    return { content_type: containerTypes[as], document: text, files, ...about }
  }
  const { document, template } = profile.spec
  const input = composerOf(context).previewInput(parts)
  const outcome = await templateThread.run({ kind: 'render', spec: { document, template }, input })
  if ('body' in outcome) return { content_type: outcome.contentType, document: outcome.body, ...about }
  throw templateError('reasons' in outcome ? outcome.reasons : [])
}

/** Kept by the settings, which are one object a process, so that templates stay compiled. */
function composerOf(context: Context) {
  const made = composers.get(context.settings) ?? documentComposer(context)
  composers.set(context.settings, made)
  return made
}
