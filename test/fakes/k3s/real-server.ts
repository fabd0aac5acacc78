import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from './ask.ts'
import { reach } from './steps.ts'

/** Where a box has the real program; the simulator then plays the kubelet beside it. */
export const realProgram = (home: string): string => join(home, 'k3s-real')

export const isReal = (home: string): boolean => existsSync(realProgram(home))

/** What a box of the lab lacks: containers, their network, and a way out for what K3s brings along. */
const flags = [
  '--disable-agent',
  '--disable=traefik,metrics-server,coredns,local-storage,servicelb',
  '--disable-helm-controller',
  '--egress-selector-mode=disabled',
]

export type RealServer = {
  url: string
  /** Settles when it ended. */
  lost: Promise<Error>
}

/** A real K3s server, from its start to an API that answers; it reads config.yaml by itself, tells systemd itself, and dies with us. */
export async function startRealServer(root: string, home: string): Promise<RealServer> {
  const bin = join(home, 'bin')
  mkdirSync(bin, { recursive: true })
  // Looked for even where there is no agent.
  writeFileSync(join(bin, 'host-local'), '', { mode: 0o755 })
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', realProgram(home), 'server', ...flags], {
    stdio: ['ignore', 'inherit', 'pipe'],
    env: withoutOurs(env),
  })
  const lost = endOf(child, follow(root, child))
  const url = 'https://127.0.0.1:6443'
  const ready = async () => {
    while (!(await isUp(url))) await sleep(200)
  }
  const failed = await Promise.race([ready(), lost])
  if (failed) throw failed
  return { url, lost }
}

/** What it logs when it has passed one of our points (steps.ts). */
const points: readonly (readonly [RegExp, string])[] = [
  [/msg="Kine available at/, 'datastore'],
  [/msg="Bootstrap key locked for initial create/, 'locked'],
  [/msg="Saving cluster bootstrap data/, 'made'],
  [/msg="ETCD server is now running/, 'saved'],
  [/msg="Polling for API server readiness/, 'listening'],
]

/**
 * Passes its log on, and marks the points; where one is held, the program stands still a moment after it.
 * @returns why it ended, as it said
 */
function follow(root: string, child: ChildProcess): () => string | undefined {
  const reached = new Set<string>()
  let why: string | undefined
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
    console.error(line)
    why = / level=fatal msg="(.*)"$/.exec(line)?.[1] ?? why
    const [, step] = points.find(([words, name]) => !reached.has(name) && words.test(line)) ?? []
    if (!step) return
    reached.add(step)
    child.kill('SIGSTOP')
    void reach(root, step).then(() => child.kill('SIGCONT'))
  })
  return () => why
}

/** Any other command of the real program, instead of us. Its kubectl goes by its own name. @returns its exit code */
export function runReal(home: string, [command = '', ...args]: readonly string[]): number {
  const how = command === 'kubectl' ? { argv0: command } : {}
  const given = command === 'kubectl' ? args : [command, ...args]
  const { status } = spawnSync(realProgram(home), given, { ...how, stdio: 'inherit', env: withoutOurs(process.env) })
  return status ?? 1
}

// A library path that our Node needs is none of its business.
function withoutOurs({ LD_LIBRARY_PATH: _, ...env }: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return env
}

// Our word is the last one, so it says what the program said.
const endOf = (child: ChildProcess, why: () => string | undefined) =>
  new Promise<Error>((done) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => child.kill(signal))
    child.once('close', (code, signal) => done(new Error(why() ?? `the real server ended (${code ?? signal})`)))
  })

/** Its supervisor lets nodes in once its own API is there. */
const isUp = (url: string) =>
  ask(`${url}/v1-k3s/readyz`).then(
    ({ status }) => status !== 503,
    () => false,
  )
