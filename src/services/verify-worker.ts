// The thread that checks signatures while its server does everything else: verify-thread.ts starts it.
import { parentPort } from 'node:worker_threads'
import { verifyHere } from '../identity/verify.ts'
import type { VerifyJob } from './verify-thread.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')

const outcomeOf = (job: VerifyJob): boolean[] =>
  job.map(({ alg, jwk, signingInput, signature }) =>
    verifyHere({ alg, jwk, signingInput: bytes(signingInput), signature: bytes(signature) }),
  )

parentPort?.on('message', (job: VerifyJob) => parentPort?.postMessage(outcomeOf(job)))
parentPort?.postMessage('ready')
