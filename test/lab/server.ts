import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Artifacts } from './artifacts.ts'
import { command } from './command.ts'
import type { Lab } from './lab.ts'
import { labAddress } from './network.ts'

const project = fileURLToPath(new URL('../..', import.meta.url))
const rollcall = ['--import', 'tsx', 'src/main.ts']

export type Answer = { status: number; body: unknown }

/** The real server as its own process, on its own PostgreSQL, with what the command line and the admin API give an admin. */
export class Server {
  readonly publicUrl: string
  readonly pins: string
  readonly log: string
  readonly #process: ChildProcess
  readonly #port: number
  readonly #token: string

  private constructor(
    from: { publicUrl: string; pins: string; log: string; port: number; token: string },
    process: ChildProcess,
  ) {
    this.publicUrl = from.publicUrl
    this.pins = from.pins
    this.log = from.log
    this.#port = from.port
    this.#token = from.token
    this.#process = process
  }

  /** @param more settings of its own */
  static async start(
    lab: Lab,
    artifacts: Pick<Artifacts, 'scriptUrl' | 'url'>,
    more: NodeJS.ProcessEnv = {},
  ): Promise<Server> {
    const data = join(lab.dir, 'server')
    await mkdir(data, { mode: 0o755 })
    const publicUrl = `https://${labAddress}:${lab.line.port}`
    const env = {
      ROLLCALL_DATA_DIR: data,
      ROLLCALL_PUBLIC_URL: publicUrl,
      ROLLCALL_K3S_SCRIPT_URL: artifacts.scriptUrl,
      ROLLCALL_K3S_ARTIFACT_URL: artifacts.url,
      ...more,
    }
    const log = join(lab.dir, 'server.log')
    const process = await serve(env, log)
    const port = await process.ready
    lab.target = { host: '127.0.0.1', port }
    const cli = async (...args: string[]) =>
      (await command('node', [...rollcall, ...args], { ...env, NODE_NO_WARNINGS: '1' })).stdout.trim()
    const token = await cli('token', 'create', '--name', 'lab', '--scope', 'admin')
    return new Server({ publicUrl, pins: await cli('pin'), log, port, token }, process.child)
  }

  /** One call of the admin API. */
  call(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Answer> {
    const text = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const headers = {
        authorization: `Bearer ${this.#token}`,
        ...(text === undefined ? {} : { 'content-type': type }),
      }
      const options = {
        host: '127.0.0.1',
        port: this.#port,
        method,
        path: `/api/v1${path}`,
        headers,
        rejectUnauthorized: false,
      }
      const sent = request(options, async (response) => {
        let answer = ''
        for await (const chunk of response.setEncoding('utf8')) answer += chunk
        resolve({ status: response.statusCode ?? 0, body: answer ? JSON.parse(answer) : undefined })
      })
      sent.on('error', reject)
      sent.end(text)
    })
  }

  /** Like `call`, for what must go well. */
  async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.call(method, path, body)
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body as T
  }

  get pid(): number {
    return this.#process.pid as number
  }

  async stop(): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGTERM')
    await ended
  }
}

async function serve(env: NodeJS.ProcessEnv, log: string): Promise<{ child: ChildProcess; ready: Promise<number> }> {
  const args = [...rollcall, 'serve', '--host', '127.0.0.1', '--https-port', '0', '--http-port', '0']
  const child = spawn('node', args, {
    cwd: project,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', openSync(log, 'a')],
  })
  const ready = new Promise<number>((resolve, reject) => {
    const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
    lines.on('line', (line) => {
      const [, url] = /^rollcall ready https=(\S+)/.exec(line) ?? []
      if (url) resolve(Number(new URL(url).port))
    })
    child.once('exit', (code) => reject(new Error(`rollcall serve ended with ${code}; see ${log}`)))
  })
  return { child, ready }
}
