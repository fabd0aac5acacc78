import type { IgnitionConfig } from './ignition-schema.ts'
import type { LintProblem } from './input.ts'

const wanted = /^ROLLCALL_PACKAGES=(?!''$|""$|$)/m

/**
 * Of an Ignition config: packages that it tells the installer to install. No system that Ignition sets up has dnf or apt-get to do it with (Fedora CoreOS
 * has its packages in an image, Flatcar none): the box would try os.update for ever.
 */
export function lintPackages({ storage }: IgnitionConfig): LintProblem[] {
  const file = storage?.files?.find(({ path }) => path === '/etc/rollcall/install.env')
  const [, data = ''] = /^data:[^,]*;base64,(.*)$/.exec(file?.contents?.source ?? '') ?? []
  if (!wanted.test(Buffer.from(data, 'base64').toString())) return []
  const message =
    'packages cannot be installed on a system that Ignition sets up: leave them out, and bring what the box needs in its image or by an own template'
  return [{ severity: 'error', code: 'packages', message }]
}
