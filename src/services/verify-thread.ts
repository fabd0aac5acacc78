import type { Worker } from 'node:worker_threads'
import { importKey } from '../identity/import-key.ts'
import { type SignatureCheck, verifySignature } from '../identity/verify.ts'
import { batcher } from './batch.ts'
import type { Context } from './context.ts'
import { startThread } from './thread.ts'

/** What the thread is asked. Strings, a character a byte: a view of bytes would take along all that it is a view of. */
export type VerifyJob = (Pick<SignatureCheck, 'alg' | 'jwk'> & Record<'signingInput' | 'signature', string>)[]

/** Checks that go together, and such rounds at a time: one is on its way while the other is worked on. */
const together = { max: 32, inFlight: 2 } as const

/** Checks a round from which on the way to the thread is worth it. */
const worthwhile = 4

/** Milliseconds without a round after which the thread ends, and gives back its memory. */
const idle = 10_000

type Round = { resolve: (verdicts: boolean[]) => void; reject: (error: Error) => void }
type Start = () => Promise<Worker>
type Log = Pick<Context['log'], 'warn'>

const startVerifying: Start = () =>
  startThread('verify-worker', { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 1 })

/**
 * Checks signatures in a thread of their own while many devices claim at once. Importing a key costs 100 µs on the thread that asks, and node imports on
 * no other; libuv's pool, which verifies, takes the core away from the server at each signature that it is given. Together that is a sixth of an
 * enrolment (test/bench: with this, p99 falls by a sixth). A claim that comes alone, or while there is no such thread, is checked without.
 */
export function verifier(log: Log, start = startVerifying): (check: SignatureCheck) => Promise<boolean> {
  const thread = new VerifyThread(log, start)
  return batcher({ ...together, run: (checks) => thread.run(checks), isolate: () => false })
}

class VerifyThread {
  readonly #log: Log
  readonly #start: Start
  #worker: Worker | undefined
  #starting = false
  readonly #rounds: Round[] = []
  #idle: NodeJS.Timeout | undefined

  constructor(log: Log, start: Start) {
    this.#log = log
    this.#start = start
  }

  async run(checks: readonly SignatureCheck[]): Promise<boolean[]> {
    if (checks.length >= worthwhile) {
      if (this.#worker) return this.#ask(this.#worker, checks).catch(() => onPool(checks))
      void this.#begin()
    }
    return onPool(checks)
  }

  // It answers in the order in which it was asked.
  #ask(worker: Worker, checks: readonly SignatureCheck[]): Promise<boolean[]> {
    this.#idle?.refresh()
    return new Promise((resolve, reject) => {
      this.#rounds.push({ resolve, reject })
      worker.postMessage(checks.map(plain))
    })
  }

  async #begin(): Promise<void> {
    if (this.#starting) return
    this.#starting = true
    try {
      const worker = await this.#start()
      worker.on('message', (verdicts: boolean[]) => this.#rounds.shift()?.resolve(verdicts))
      worker.once('exit', () => this.#ended())
      worker.unref()
      this.#worker = worker
      this.#idle = setTimeout(() => worker.terminate(), idle).unref()
    } catch (error) {
      // Not tried again: whatever keeps a thread from starting, the next would cost as much.
      this.#log.warn({ err: error }, 'no thread to check signatures in: they are checked without')
    }
  }

  #ended(): void {
    clearTimeout(this.#idle)
    this.#worker = undefined
    this.#starting = false
    for (const round of this.#rounds.splice(0)) round.reject(new Error('the thread ended'))
  }
}

const plain = ({ alg, jwk, signingInput, signature }: SignatureCheck) => ({
  alg,
  jwk,
  signingInput: text(signingInput),
  signature: text(signature),
})

const text = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  Buffer.from(buffer, byteOffset, byteLength).toString('latin1')

const onPool = (checks: readonly SignatureCheck[]): Promise<boolean[]> =>
  Promise.all(
    checks.map(async ({ alg, jwk, signingInput, signature }) => {
      const key = importKey(jwk)
      return key !== undefined && verifySignature(alg, key, signingInput, signature)
    }),
  )
