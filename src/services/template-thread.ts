import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import type { DocumentInput, LintProblem } from '../documents/input.ts'
import type { ProfileSpec } from '../documents/profile.ts'
import type { ContentType } from '../documents/rendered.ts'
import type { Reason } from '../documents/template-error.ts'
import { AppError } from '../errors.ts'
import { startThread } from './thread.ts'

/** What is asked of the thread: plain data, as are its answers. */
export type TemplateJob =
  | { kind: 'lint'; spec: ProfileSpec }
  | { kind: 'render'; spec: Pick<ProfileSpec, 'document' | 'template'>; input: DocumentInput }

export type TemplateOutcome =
  | { problems: LintProblem[] }
  | { body: string; contentType: ContentType }
  | { reasons: Reason[] }

export type Limits = {
  /** Milliseconds that one job may take */
  time: number
  /** MB of its heap */
  memory: number
  /** Jobs that may wait for those before them */
  queue: number
  /** Milliseconds without a job after which it ends, and gives back its memory */
  idle: number
}

/**
 * Tries templates of admins in a thread of their own, one at a time. The engine's budgets (documents/budget.ts) bound what a template
 * may ask for; this bounds what it takes if they do not, and keeps devices from waiting for it either way.
 */
export class TemplateThread {
  readonly #limits: Limits
  #worker: Promise<Worker> | undefined
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #idle: NodeJS.Timeout | undefined

  constructor(limits: Limits = { time: 10_000, memory: 128, queue: 16, idle: 10_000 }) {
    this.#limits = limits
  }

  /**
   * @returns for a template that takes too long or too much memory the reason, as for one that cannot be used
   * @throws AppError `busy` if too many wait already; whatever else the thread ended with
   */
  async run(job: TemplateJob): Promise<TemplateOutcome> {
    if (this.#waiting > this.#limits.queue)
      throw new AppError('busy', { detail: 'other templates are tried', retryAfter: 5 })
    this.#waiting += 1
    const before = this.#last
    const mine = before.then(() => this.#take(job))
    this.#last = mine.catch(() => {})
    try {
      return await mine
    } finally {
      this.#waiting -= 1
    }
  }

  async #take(job: TemplateJob): Promise<TemplateOutcome> {
    clearTimeout(this.#idle)
    const started = this.#running()
    try {
      const worker = await started
      worker.ref()
      const outcome = await this.#ask(worker, job)
      worker.unref()
      this.#idle = setTimeout(() => this.#end(started), this.#limits.idle).unref()
      return outcome
    } catch (error) {
      this.#end(started)
      const reason = reasonOf(error, this.#limits)
      if (reason) return { reasons: [reason] }
      throw error
    }
  }

  async #ask(worker: Worker, job: TemplateJob): Promise<TemplateOutcome> {
    const over = new AbortController()
    const limit = setTimeout(() => over.abort(), this.#limits.time)
    try {
      // An `error` of the worker rejects it, too: out of memory among them.
      const answered = once(worker, 'message', { signal: over.signal }) as Promise<[TemplateOutcome]>
      worker.postMessage(job)
      return (await answered)[0]
    } finally {
      clearTimeout(limit)
    }
  }

  #running(): Promise<Worker> {
    if (this.#worker) return this.#worker
    const started = startThread('template-worker', {
      maxOldGenerationSizeMb: this.#limits.memory,
      maxYoungGenerationSizeMb: 16,
    })
    this.#worker = started
    const watched = started.then((worker) => worker.once('exit', () => this.#forget(started)))
    watched.catch(() => {})
    return started
  }

  #forget(started: Promise<Worker>): void {
    if (this.#worker === started) this.#worker = undefined
  }

  #end(started: Promise<Worker>): void {
    this.#forget(started)
    started.then(
      (worker) => worker.terminate(),
      () => {},
    )
  }
}

function reasonOf(error: unknown, { time, memory }: Limits): Reason | undefined {
  const { code } = error as { code?: string }
  if (code === 'ABORT_ERR') return tooMuch(`takes longer than ${time / 1_000} s`)
  return code === 'ERR_WORKER_OUT_OF_MEMORY' ? tooMuch(`takes more than ${memory} MB of memory`) : undefined
}

const tooMuch = (message: string): Reason => ({ code: 'too_complex', message })

/** The one of this process. */
export const templateThread = new TemplateThread()
