import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What a driver of K3s read in an endpoint. */
export type Read = { error?: string; user: string; password: string; host: string; port: number; database: string }

const source = fileURLToPath(new URL('.', import.meta.url))

/**
 * Builds the program that asks K3s' own drivers, once for each state of its sources.
 * @returns undefined where there is no Go, which is said aloud
 */
export function buildDrivers(): string | undefined {
  if (spawnSync('go', ['version']).status !== 0) {
    console.log("skipped: K3s' own drivers are not asked, since there is no Go here")
    return undefined
  }
  const files = ['main.go', 'go.mod', 'go.sum'].map((name) => readFileSync(join(source, name)))
  const digest = createHash('sha256').update(Buffer.concat(files)).digest('hex').slice(0, 12)
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'rollcall-test')
  const program = join(cache, `drivers-${digest}`)
  if (existsSync(program)) return program
  mkdirSync(cache, { recursive: true })
  execFileSync('go', ['build', '-o', `${program}.${process.pid}`, '.'], { cwd: source, stdio: 'inherit' })
  renameSync(`${program}.${process.pid}`, program)
  return program
}

/** Asks the drivers about many endpoints at once. */
export function readBack(program: string, endpoints: readonly string[]): Read[] {
  const input = endpoints.map((endpoint) => `${JSON.stringify({ endpoint })}\n`).join('')
  const output = execFileSync(program, { input, maxBuffer: 1 << 28, encoding: 'utf8' })
  return output
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Read)
}
