import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { type Bundle, bundle } from './bundle.ts'
import { channel, type Message } from './message.ts'

/** Milliseconds. `load`: until the first test starts; `late`: on top of a test's own limit; `grace`: from the last test to the end. */
export const patience = { load: 60_000, late: 10_000, grace: 5_000 }

export type FileResult = {
  file: string
  passed: number
  failed: number
  skipped: number
  seconds: number
  /** What was wrong with the file itself, in words. */
  problems: string[]
  /** What it printed. */
  output: string
}

export type FileOptions = { env: NodeJS.ProcessEnv; refuseOnly: boolean; wait?: typeof patience }

const running = new Set<ChildProcess>()

/** Ends what still runs, with all that it started. */
export function killRunning(): void {
  for (const child of running) killGroup(child)
}

/** Runs one test file in its own process and process group, and never trusts its exit code alone. */
export async function runFile(file: string, options: FileOptions): Promise<FileResult> {
  const started = Date.now()
  const nothing = { file, passed: 0, failed: 1, skipped: 0, output: '' }
  try {
    const made = await bundle({ child: 'test/runner/child.ts', test: file })
    const result = await runBundle(made, options).finally(made.remove)
    return { ...result, file, seconds: (Date.now() - started) / 1000 }
  } catch (error) {
    return { ...nothing, seconds: (Date.now() - started) / 1000, problems: [(error as Error).message] }
  }
}

async function runBundle(made: Bundle, options: FileOptions): Promise<Omit<FileResult, 'file' | 'seconds'>> {
  const wait = options.wait ?? patience
  const args = ['--enable-source-maps', made.file('child'), made.file('test'), String(wait.grace / 2)]
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: options.env,
    detached: true,
  })
  running.add(child)
  const watch = watchdog(child, wait.load)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
  const seen = listen(child, watch, wait)
  const closed = new Promise<true>((done) => child.once('close', () => done(true)))
  const exit = await exited(child)
  watch.stop()
  const strayed = !(await within(wait.grace, closed))
  running.delete(child)
  if (strayed) killGroup(child)

  const end = seen.end ?? { passed: 0, failed: 0, skipped: 0, only: 0 }
  const problems = watch.complaints() ?? judge(seen.end, exit, options)
  if (strayed) problems.push('left a process behind that still holds its output')
  const { passed, failed, skipped } = end
  return { passed, failed: failed + problems.length, skipped, problems, output }
}

type Exit = { code: number | null; signal: NodeJS.Signals | null }
type End = Extract<Message, { kind: 'end' }>

function judge(end: End | undefined, exit: Exit, { refuseOnly }: FileOptions): string[] {
  const how = exit.signal ? `signal ${exit.signal}` : `exit code ${exit.code}`
  if (!end) return [`ended before its tests did (${how})`]
  if (exit.code !== 0) return [`crashed after its tests (${how})`]
  if (end.passed + end.failed + end.skipped === 0) return ['holds no test']
  if (end.only > 0 && refuseOnly) return ['holds an .only, which hides its other tests']
  return []
}

function listen(child: ChildProcess, watch: Watchdog, wait: typeof patience): { end?: End } {
  const seen: { end?: End } = {}
  createInterface({ input: child.stdio[channel] as Readable }).on('line', (line) => {
    const message = JSON.parse(line) as Message
    if (message.kind === 'start') watch.expect(`"${message.title}" hangs the process`, message.timeout + wait.late)
    if (message.kind === 'end') watch.expect('stays alive after its tests', wait.grace)
    if (message.kind === 'open') watch.explain(`open: ${message.handles.join(', ') || 'nothing that node knows of'}`)
    if (message.kind === 'end') seen.end = message
  })
  return seen
}

type Watchdog = ReturnType<typeof watchdog>

function watchdog(child: ChildProcess, load: number) {
  let barked: string | undefined
  let why = ''
  let timer: NodeJS.Timeout
  const expect = (complaint: string, ms: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      barked = complaint
      killGroup(child)
    }, ms)
  }
  expect('did not load', load)
  return {
    expect,
    explain: (reason: string) => {
      why = ` (${reason})`
    },
    stop: () => clearTimeout(timer),
    complaints: () => (barked ? [`${barked}${why}`] : undefined),
  }
}

const exited = (child: ChildProcess) =>
  new Promise<Exit>((done, fail) => child.once('error', fail).once('exit', (code, signal) => done({ code, signal })))

/** A process that a test left behind holds the output open after the test's own process ended. */
async function within(ms: number, done: Promise<true>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const first = await Promise.race([done, late])
  clearTimeout(timer)
  return first
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid) process.kill(-child.pid, 'SIGKILL')
  } catch {
    // The group is gone: that is what was wanted.
  }
}
