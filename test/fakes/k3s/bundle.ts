import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { findKubectl } from '../../kine/kubectl.ts'
import { findKine } from '../../kine/program.ts'
import { realProgram } from './real-server.ts'

/** Where a box looks for it. */
export const simulatorHome = '/usr/local/lib/k3s-sim'

/**
 * Lays what the simulator needs on a box below `root`: itself in one file, Node with its libraries, kine, kubectl.
 * @throws Error if kine or kubectl are not there (`npm run kine`)
 */
export async function laySimulator(root: string): Promise<void> {
  const [kine, kubectl] = [findKine(), findKubectl()]
  if (!kine || !kubectl) throw new Error('kine or kubectl is not there: npm run kine')
  const home = join(root, simulatorHome)
  mkdirSync(join(home, 'lib'), { recursive: true })
  await build({
    entryPoints: [fileURLToPath(new URL('main.ts', import.meta.url))],
    outfile: join(home, 'k3s.mjs'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
    // CommonJS parts of libraries want it.
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  })
  copyFileSync(process.execPath, join(home, 'node'))
  // A lean root has none of C++'s libraries.
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).matchAll(
    /=> (\/\S+\/(lib(?:stdc\+\+|gcc_s|atomic)\S+))/g,
  )
  for (const [, file = '', name = ''] of libraries) copyFileSync(file, join(home, 'lib', name))
  const real = process.env.ROLLCALL_CLUSTERS_K3S
  if (real) copyFileSync(real, realProgram(home))
  copyFileSync(kine, join(home, 'kine'))
  copyFileSync(kubectl, join(home, 'kubectl'))
}

/** The program that a release of K3s would be: what rollcall-node downloads, checks and runs. */
export const simulatorProgram = (version: string): string => `#!/bin/sh
# Plays K3s ${version}: the simulator of test/fakes/k3s.
export K3S_SIM_VERSION=${version} LD_LIBRARY_PATH=${simulatorHome}/lib
exec ${simulatorHome}/node ${simulatorHome}/k3s.mjs "$@"
`
