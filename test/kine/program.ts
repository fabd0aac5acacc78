import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { waitForLock } from '../../src/postgres/lock.ts'

/** 0.16.3 is what K3s v1.36.3 embeds; 0.17.5 is what later ones may. */
export const kineVersions = ['0.16.3', '0.17.5'] as const
export type KineVersion = (typeof kineVersions)[number]

// `go install …@v0.16.3` fails on its checksum look-up: the two lines are given here instead.
const sums = `github.com/k3s-io/kine v0.16.3 h1:NstMQZ7AIRA9dC+uu+ZpK5eITwsANrSDX4Fe6yTSmpU=
github.com/k3s-io/kine v0.16.3/go.mod h1:8cpZsCKacjwrka3BjQDY7sCQ2qI9iGtcCs2I/I5euec=
`
const module = 'module rollcall.test/kine\n\ngo 1.25.1\n\nrequire github.com/k3s-io/kine v0.16.3\n'

/** Programs that tests need and that take long to get: one folder, outside the repository, that CI may carry. */
export const testCache: string =
  process.env.ROLLCALL_TEST_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'rollcall-test')

const folderOf = (version: KineVersion) => join(testCache, `kine-${version}-${process.platform}-${process.arch}`)

/** The built program, if there is one. */
export function findKine(version: KineVersion = '0.16.3'): string | undefined {
  const program = join(folderOf(version), 'kine')
  return existsSync(program) ? program : undefined
}

/** `npm run kine` in words, for those who lack it. The runner and .ci/run show each line that begins with `skipped:`. */
export const whyNoKine = (what: string, version: KineVersion = '0.16.3'): string =>
  `skipped: ${what}: kine ${version} is not built here; npm run kine builds it (needs Go)`

/** The suite's own `test`; where kine was not built, each test is skipped and says so. */
export function testsWithKine(test: TestFunction & { skip: TestFunction }, version?: KineVersion): TestFunction {
  if (findKine(version)) return test
  return (title, body) => {
    console.log(whyNoKine(title, version))
    test.skip(title, body)
  }
}

type TestFunction = (title: string, body: () => void | Promise<void>) => void

/** Builds kine into the cache, once. @returns undefined, or why it cannot be built here */
export async function buildKine(version: KineVersion, say: (line: string) => void): Promise<string | undefined> {
  if (findKine(version)) return undefined
  if (spawnSync('go', ['version']).status !== 0) return 'there is no Go'
  mkdirSync(testCache, { recursive: true })
  const lock = await waitForLock(testCache, `kine-${version}`, 1_800_000)
  const part = `${folderOf(version)}.part`
  try {
    if (findKine(version)) return undefined
    say(`building kine ${version}: a few minutes`)
    rmSync(part, { recursive: true, force: true })
    mkdirSync(part)
    const code = version === '0.16.3' ? await buildOurModule(part) : await installRelease(version, part)
    if (code !== 0) return `go ended with ${code}`
    renameSync(part, folderOf(version))
    return undefined
  } finally {
    rmSync(part, { recursive: true, force: true })
    lock.release()
  }
}

function buildOurModule(folder: string): Promise<number | null> {
  writeFileSync(join(folder, 'go.mod'), module)
  writeFileSync(join(folder, 'go.sum'), sums)
  return go(['build', '-mod=mod', '-o', join(folder, 'kine'), 'github.com/k3s-io/kine'], folder)
}

function installRelease(version: string, folder: string): Promise<number | null> {
  return go(['install', `github.com/k3s-io/kine@v${version}`], folder, { GOBIN: folder })
}

function go(args: string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<number | null> {
  const child = spawn('go', args, {
    cwd,
    env: { ...process.env, CGO_ENABLED: '0', ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return new Promise((done, fail) => child.once('error', fail).once('exit', done))
}
