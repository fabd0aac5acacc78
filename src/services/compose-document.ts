import { type Builtins, type CompiledDocument, compileDocument } from '../documents/compile.ts'
import type { DocumentInput } from '../documents/input.ts'
import { redactInput } from '../documents/redact.ts'
import type { RenderedDocument } from '../documents/rendered.ts'
import { AppError } from '../errors.ts'
import type { ContainerForm } from '../k3s/container.ts'
import type { NodeLogin } from '../k3s/datastore-address.ts'
import { loginPassword, loginRole } from '../k3s/datastore-names.ts'
import { nodePassword } from '../k3s/node-password.ts'
import { builtinTemplates } from './builtin-templates.ts'
import type { ClusterParts, ProfileParts } from './claim-parts.ts'
import { containerPreview } from './container-parts.ts'
import type { Context } from './context.ts'
import { type ComposeParts, documentInput, type SharedParts, sharedParts } from './document-parts.ts'

export type { ComposeParts }

/**
 * Renders one claim's document.
 * @throws AppError `state_conflict` if the cluster lacks what the role needs; `internal` if the template fails, about which a device can do nothing
 */
export type Composer = (parts: ComposeParts) => { input: DocumentInput; rendered: RenderedDocument }

type Deps = Pick<Context, 'settings' | 'keys' | 'mirror' | 'managed'>

/** Profile revisions whose templates stay compiled, and shared parts kept a cluster. */
const mostKept = 512

/**
 * Composes and renders documents, cheaply enough for every claim. A template is compiled once a profile revision, which never changes.
 * What a cluster and a profile give all their devices (config.yaml but for the node's name, datastore keys, hashes, URLs) is made once for each
 * cluster as claim-parts read it, profile revision and role. What is left for a claim is one object, one run of a compiled
 * template, and one look at every value in its result (documents/skeleton.ts).
 */
export function documentComposer(deps: Deps, builtins: Builtins = builtinTemplates()) {
  const { keys } = deps
  const compiled = new Map<string, CompiledDocument>()
  // By the object: claim-parts reads a cluster again when hashes were recorded, though its version stays the same.
  const shared = new WeakMap<ClusterParts, Map<string, SharedParts>>()

  const compile = ({ id, revision, spec }: ProfileParts) =>
    keep(compiled, `${id}/${revision}`, () => compileDocument(spec, builtins))

  const input = (parts: ComposeParts, login = () => loginOf(keys, parts.enrollment.id)): DocumentInput => {
    const { profile, cluster, role, device } = parts
    const ofCluster = shared.get(cluster) ?? new Map<string, SharedParts>()
    shared.set(cluster, ofCluster)
    const common = keep(ofCluster, `${profile.id}/${profile.revision}/${role}`, () => sharedParts(deps, parts))
    return documentInput(deps, common, parts, { nodePassword: nodePassword(keys.nodePassword, device.id), login })
  }

  return {
    /** All that a template can say about one device and one enrollment. */
    input,
    compose(parts: ComposeParts): ReturnType<Composer> {
      try {
        const composed = input(parts)
        return { input: composed, rendered: compile(parts.profile).render(composed) }
      } catch (error) {
        if (error instanceof AppError && forDevices.has(error.code)) throw error
        throw new AppError('internal', { cause: error })
      }
    },
    /**
     * What that device's template would be given, secrets as placeholders.
     * @throws AppError `state_conflict` if the cluster lacks what the role needs
     */
    previewInput(parts: ComposeParts): DocumentInput {
      return redactInput(input(parts, () => noLogin))
    },
    /**
     * How another host would run that device's K3s in a container, secrets as placeholders.
     * @throws AppError `state_conflict` if the cluster lacks what the role needs
     */
    container(form: ContainerForm, parts: ComposeParts): ReturnType<typeof containerPreview> {
      return containerPreview(form, redactInput(input(parts, () => noLogin)), parts.cluster, deps.mirror)
    },
  }
}

/** What a device can wait for, or an admin can mend. */
const forDevices: ReadonlySet<string> = new Set(['state_conflict', 'datastore_unavailable'])

const loginOf = ({ nodePassword }: Deps['keys'], enrollmentId: string): NodeLogin => ({
  role: loginRole(enrollmentId),
  password: loginPassword(nodePassword, enrollmentId),
})
// A preview has no enrollment; its endpoint is shown as a placeholder.
const noLogin: NodeLogin = { role: 'preview', password: 'preview' }

/** The composer that claims use. */
export const composer = (deps: Deps, builtins?: Builtins): Composer => documentComposer(deps, builtins).compose

function keep<T>(map: Map<string, T>, key: string, make: () => T): T {
  const found = map.get(key)
  if (found !== undefined) return found
  const made = make()
  map.set(key, made)
  if (map.size > mostKept) map.delete(map.keys().next().value as string)
  return made
}
