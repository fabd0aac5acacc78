import type { IgnitionConfig } from './ignition-schema.ts'
import type { LintProblem } from './input.ts'

/** What client.sh takes out of an Ignition document when a box claims again (files_of_enrollment), and what of it is K3s itself. */
const taken =
  /^\/etc\/(?:rollcall|rancher)\/|^\/etc\/(?:containers\/systemd\/k3s(?:-agent)?\.container|systemd\/system\/k3s(?:-agent)?\.service)$|^\/(?:usr\/local\/sbin|opt\/bin)\/rollcall-node$|^\/(?:usr\/local|opt)\/bin\/k3s$/
const k3s = /\/bin\/k3s$/

type File = NonNullable<NonNullable<IgnitionConfig['storage']>['files']>[number]

/** Of an Ignition config: what a system cannot take when it claims again, since only Ignition can do it. Such a box would have to be installed anew. */
export function lintAgain({ ignition, storage }: IgnitionConfig): LintProblem[] {
  const elsewhere = ignition.config?.merge?.length || ignition.config?.replace ? ['ignition.config'] : []
  const files = (storage?.files ?? []).filter(({ path }) => taken.test(path))
  const others = [...(storage?.directories ?? []), ...(storage?.links ?? [])].filter(({ path }) => taken.test(path))
  const paths = [...files.filter((file) => !isTaken(file)), ...others].map(({ path }) => path)
  return [...elsewhere, ...paths].map((what) => ({
    severity: 'warning',
    code: 'not_taken_again',
    message: `${what} is in a form that a box cannot take when it claims again (docs/devices.md, "Enrolling again")`,
  }))
}

function isTaken({ path, mode, user, group, append, contents }: File): boolean {
  const owners = [user, group].every((owner) => owner?.name == null && !owner?.id)
  const plain = !append?.length && contents?.compression == null && !contents?.httpHeaders?.length
  const named = /^[A-Za-z0-9./_-]+$/.test(path) && mode != null && mode <= 0o777
  return named && owners && plain && isSource(path, contents)
}

function isSource(path: string, contents: File['contents']): boolean {
  const { source, verification } = contents ?? {}
  const hash = verification?.hash ?? ''
  const [, data] = /^data:[^,]*;base64,(.*)$/.exec(source ?? '') ?? []
  if (data !== undefined) return hash === '' && Buffer.from(data, 'base64').toString('base64') === data
  return k3s.test(path) && /^https?:\/\/[!-~]+$/.test(source ?? '') && /^(?:sha256-[0-9a-f]{64})?$/.test(hash)
}
