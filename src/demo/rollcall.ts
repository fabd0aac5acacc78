import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** The real server as its own process, and the real commands beside it. */
export type Rollcall = {
  url: string
  pins: string
  token: string
  stop: () => Promise<void>
  /** Settles when the server ends by itself. */
  ended: Promise<number | null>
}

/**
 * Starts `rollcall serve` on a data directory of its own.
 * @param main path of the command line entry that runs this demo
 * @param env of the server and the commands
 */
export async function startRollcall(main: string, data: string, env: NodeJS.ProcessEnv): Promise<Rollcall> {
  const [https, http] = await Promise.all([freePort(8443), freePort(8080)])
  const flags = ['--data-dir', data, '--host', '127.0.0.1', '--https-port', `${https}`, '--http-port', `${http}`]
  const command = (...args: string[]) => [...process.execArgv, main, ...args]
  const child = spawn(process.execPath, command('serve', ...flags), {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit').then(([code]) => code as number | null)
  const url = await readyUrl(child, ended)
  const ask = async (...args: string[]) =>
    (
      await run(process.execPath, command(...args, '--data-dir', data), {
        env,
      })
    ).stdout.trim()
  return {
    url,
    ended,
    pins: await ask('pin'),
    token: await ask('token', 'create', '--name', 'demo', '--scope', 'admin', '--expires', '1d'),
    stop: async () => {
      child.kill('SIGTERM')
      await ended
    },
  }
}

async function readyUrl(child: ChildProcess, ended: Promise<number | null>): Promise<string> {
  const lines = createInterface(child.stdout as NodeJS.ReadableStream)
  const ready = new Promise<string>((found) => {
    lines.on('line', (line) => {
      const url = /^rollcall ready https=(\S+)/.exec(line)?.[1]
      if (url) found(url)
    })
  })
  const failed = ended.then((code) => {
    throw new Error(`the server ended with ${code} before it was ready`)
  })
  return Promise.race([ready, failed])
}

/** The wanted port, or 0 (any) where another program has it. */
function freePort(wanted: number): Promise<number> {
  return new Promise((found) => {
    const probe = createServer()
    probe.once('error', () => found(0))
    probe.listen(wanted, '127.0.0.1', () => probe.close(() => found(wanted)))
  })
}
