import { type ChildProcess, spawn } from 'node:child_process'
import { request } from 'node:https'
import { fileURLToPath } from 'node:url'
import { pinOf } from '../src/tls/pins.ts'
import { bundle } from './runner/bundle.ts'

const program = await bundle({ main: 'src/main.ts' })
const living = new Set<ChildProcess>()

// A test that throws must not leave a server and its PostgreSQL behind: SIGTERM ends both.
process.once('exit', () => {
  for (const child of living) child.kill('SIGTERM')
})

export type RunOptions = {
  env?: Record<string, string>
  /** Runs as this user and group */
  uid?: number
  gid?: number
  /** A program and its arguments that run it in turn */
  by?: readonly string[]
}

export type Ended = { code: number | null; signal: NodeJS.Signals | null; out: string; err: string }

export type Running = {
  child: ChildProcess
  /** What it has printed so far */
  out: () => string
  err: () => string
  ended: Promise<Ended>
}

/** Starts the command line as an admin would, with nothing of this process's environment but the path. */
export function start(args: readonly string[], { env = {}, by = [], ...account }: RunOptions = {}): Running {
  const [command, ...rest] = [...by, process.execPath, program.file('main'), ...args] as [string, ...string[]]
  const child = spawn(command, rest, {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...account,
  })
  living.add(child)
  let [out, err] = ['', '']
  child.stdout?.on('data', (chunk) => (out += chunk))
  child.stderr?.on('data', (chunk) => (err += chunk))
  const ended = new Promise<Ended>((done) => {
    child.once('close', (code, signal) => {
      living.delete(child)
      done({ code, signal, out, err })
    })
  })
  return { child, out: () => out, err: () => err, ended }
}

/** Runs one command to its end. */
export const rollcall = (args: readonly string[], options?: RunOptions): Promise<Ended> => start(args, options).ended

export type Serving = Running & {
  https: string
  http: string
  /** SIGTERM, then its end. */
  stop: () => Promise<Ended>
}

/** Starts `rollcall serve` on free loopback ports and waits for its ready line. @throws Error with what it said instead */
export async function serving(args: readonly string[], options?: RunOptions): Promise<Serving> {
  const ports = ['--host', '127.0.0.1', '--https-port', '0', '--http-port', '0']
  const running = start(['serve', ...ports, ...args], options)
  const line = await Promise.race([
    new Promise<RegExpExecArray>((done) => {
      running.child.stdout?.on('data', () => {
        const found = /^rollcall ready https=(\S+) http=(\S+)$/m.exec(running.out())
        if (found) done(found)
      })
    }),
    running.ended.then((end): never => {
      throw new Error(`serve ended with ${end.code ?? end.signal}: ${end.err}`)
    }),
  ])
  const stop = () => {
    running.child.kill('SIGTERM')
    return running.ended
  }
  return { ...running, https: line[1] as string, http: line[2] as string, stop }
}

export type Answer = { status: number; body: string; pin: string }

/** Asks the main listener, and says which key it showed. */
export function ask(url: string, headers: Record<string, string> = {}): Promise<Answer> {
  return new Promise((done, fail) => {
    const options = { rejectUnauthorized: false, agent: false as const, headers }
    const asked = request(url, options, (answer) => {
      const certificate = (answer.socket as import('node:tls').TLSSocket).getPeerX509Certificate()
      let body = ''
      answer.on('data', (chunk) => (body += chunk))
      answer.on('end', () =>
        done({ status: answer.statusCode ?? 0, body, pin: certificate ? pinOf(certificate.toString()) : '' }),
      )
    })
    asked.on('error', fail).end()
  })
}
