import type { DocumentInput } from '../documents/input.ts'
import { AppError } from '../errors.ts'
import { paths } from '../k3s/config.ts'
import { type ContainerForm, containerText, containerUnit, type K3sContainer, k3sImage } from '../k3s/container.ts'
import { ownRegistries } from '../k3s/registries.ts'
import type { ClusterParts } from './claim-parts.ts'
import type { Mirror } from './context.ts'

type Vars = DocumentInput['vars']

/**
 * Whether a device's K3s runs in a container: `vars.runtime`.
 * @throws AppError `state_conflict` where that is neither host nor container
 */
export function runsInContainer(vars: Vars): boolean {
  const runtime = Object.hasOwn(vars, 'runtime') ? vars.runtime : 'host'
  if (runtime !== 'host' && runtime !== 'container') throw conflict('vars.runtime is host or container')
  return runtime === 'container'
}

/** What a device's K3s in a container is made from: its document's input as far as that is known, and its cluster. */
type Source = Pick<DocumentInput, 'device' | 'role' | 'vars'> & { k3s: Pick<DocumentInput['k3s'], 'unit' | 'env'> }

/**
 * @param mirror this server's: where nothing else may be named, an image must come from a registry of the cluster's own
 * @throws AppError `state_conflict` as `k3sImage`
 */
export function containerOf(
  { device, role, vars, k3s }: Source,
  cluster: ClusterParts,
  mirror: Mirror | undefined,
  allowUnpinned = cluster.allowUnpinned,
): K3sContainer {
  const registry = cluster.settings['system-default-registry']
  const image = k3sImage(cluster.k3sVersion, {
    given: Object.hasOwn(vars, 'image') ? vars.image : undefined,
    registry,
    registries: mirror?.only ? ownRegistries(cluster.registries ?? '', registry) : undefined,
    allowUnpinned,
  })
  const alone = cluster.datastore.kind === 'sqlite' && cluster.apiEndpoint === null
  return { role, name: k3s.unit, image, hostname: device.hostname, alone, env: k3s.env }
}

/** rollcall-node makes it when K3s may start: it cannot enable a unit that Quadlet makes. */
const startMark = '/var/lib/rollcall/enabled'

/** What a template can have a node's K3s run by: each the same container. @throws AppError `state_conflict` as `containerText` */
export const containerTexts = (container: K3sContainer): NonNullable<DocumentInput['k3s']['container']> => ({
  image: container.image,
  docker_run: containerText('docker-run', container),
  compose: containerText('compose', container),
  quadlet: containerText('quadlet', container, startMark),
  docker_unit: containerUnit('docker', container),
  podman_unit: containerUnit('podman', container),
})

/** A file that a container mounts; all are for root alone (0600). */
export type MountedFile = { path: string; content: string }

/**
 * How an admin's own host would run a device's K3s in a container. Nothing is installed by it, so an image may go by its tag.
 * @param input secrets as placeholders
 */
export function containerPreview(
  form: ContainerForm,
  input: DocumentInput,
  cluster: ClusterParts,
  mirror: Mirror | undefined,
): { text: string; files: MountedFile[] } {
  const { k3s, secret, role } = input
  const files = [
    { path: paths.config, content: k3s.config },
    { path: paths.token, content: `${role === 'server' ? '<server token, by /v1/join>' : k3s.token}\n` },
    { path: paths.nodePassword, content: `${secret.node_password}\n` },
    ...k3s.files.filter(({ path }) => path.startsWith('/etc/rancher/')),
    ...(k3s.registries ? [{ path: '/etc/rancher/k3s/registries.yaml', content: k3s.registries }] : []),
  ]
  return { text: containerText(form, containerOf(input, cluster, mirror, true)), files }
}

const conflict = (detail: string) => new AppError('state_conflict', { detail })
