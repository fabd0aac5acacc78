import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const root = fileURLToPath(new URL('../..', import.meta.url))
const main = join(root, 'dist', 'main.js')

export type HttpAnswer = { status: number; headers: IncomingMessage['headers']; body: string }

/** The real server on its embedded PostgreSQL, started, killed and started again. */
export class Serving {
  readonly data: string
  readonly #folder: string
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined
  #agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
  #port = 0
  #token = ''

  /**
   * @param env settings of its own
   * @param compile false where it was just compiled
   */
  constructor(env: NodeJS.ProcessEnv = {}, compile = true) {
    this.#env = env
    const tsc = [join(root, 'node_modules', '.bin', 'tsc'), '-p', 'tsconfig.build.json']
    if (compile) execFileSync(process.execPath, tsc, { cwd: root })
    this.#folder = mkdtempSync(join(tmpdir(), 'rollcall-e2e-'))
    chmodSync(this.#folder, 0o711)
    this.data = join(this.#folder, 'data')
  }

  /** Starts `rollcall serve` and waits until it says that it is ready; keeps its port over restarts. */
  async start(): Promise<void> {
    const flags = ['--data-dir', this.data, '--host', '127.0.0.1', '--https-port', `${this.#port}`, '--http-port', '0']
    const env = { ...process.env, DATABASE_URL: undefined, ROLLCALL_LOG_LEVEL: 'error', ...this.#env }
    const child = spawn(process.execPath, [main, 'serve', ...flags], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk}`.slice(-4_000)
    })
    const ready = new Promise<number>((found, fail) => {
      createInterface(child.stdout).on('line', (line) => {
        const port = /^rollcall ready https=https:\/\/[^:]+:(\d+)/.exec(line)?.[1]
        if (port) found(Number(port))
      })
      child.once('exit', (code) => fail(new Error(`serve ended with ${code}: ${said}`)))
    })
    this.#port = await ready
  }

  /** SIGKILL: nothing of it gets to clean up. */
  async kill(): Promise<void> {
    const child = this.#child as ChildProcess
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
    this.#agent.destroy()
    this.#agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
  }

  /** SIGTERM. @returns its exit code */
  async stop(): Promise<number | null> {
    const child = this.#child as ChildProcess
    if (child.exitCode !== null) return child.exitCode
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    const [code] = await gone
    return code as number | null
  }

  async end(): Promise<void> {
    await this.stop()
    this.#agent.destroy()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  get pid(): number {
    return (this.#child as ChildProcess).pid as number
  }

  get port(): number {
    return this.#port
  }

  /** Process id of the embedded PostgreSQL. */
  postmaster(): number {
    const [file] = execFileSync('find', ['-L', this.data, '-name', 'postmaster.pid']).toString().trim().split('\n')
    return Number(readFileSync(file as string, 'utf8').split('\n')[0])
  }

  /** Process ids of the connections that PostgreSQL serves. */
  backends(): number[] {
    const children = execFileSync('ps', ['-o', 'pid=,args=', '--ppid', `${this.postmaster()}`])
      .toString()
      .trim()
      .split('\n')
    return children
      .filter((line) => /rollcall.*(idle|SELECT|INSERT|UPDATE|BIND|PARSE)/.test(line))
      .map((line) => Number.parseInt(line, 10))
  }

  async admin(method: string, path: string, body?: unknown, type = 'application/json'): Promise<HttpAnswer> {
    this.#token ||= (
      await promisify(execFile)(process.execPath, [
        main,
        'token',
        'create',
        '--name',
        'e2e',
        '--scope',
        'admin',
        '--data-dir',
        this.data,
      ])
    ).stdout.trim()
    const text = typeof body === 'string' ? body : body === undefined ? undefined : JSON.stringify(body)
    const headers = { authorization: `Bearer ${this.#token}`, ...(text === undefined ? {} : { 'content-type': type }) }
    return this.send(method, path, text, headers)
  }

  send(method: string, path: string, body?: string, headers: Record<string, string> = {}): Promise<HttpAnswer> {
    return new Promise((done, fail) => {
      const sent = request(
        { host: '127.0.0.1', port: this.#port, method, path, headers, agent: this.#agent },
        (answer) => {
          const chunks: Buffer[] = []
          answer.on('data', (chunk: Buffer) => chunks.push(chunk))
          answer.once('error', fail)
          answer.once('end', () =>
            done({
              status: answer.statusCode as number,
              headers: answer.headers,
              body: Buffer.concat(chunks).toString(),
            }),
          )
        },
      )
      sent.once('error', fail)
      sent.end(body)
    })
  }

  /** The origin that claims of this server name. */
  get origin(): string {
    return `https://127.0.0.1:${this.#port}`
  }
}
