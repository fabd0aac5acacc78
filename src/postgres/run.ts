import { spawn } from 'node:child_process'
import { type Account, asAccount } from './account.ts'

export type Outcome = {
  /** Null if it could not be started or was killed. */
  code: number | null
  /** `ENOENT`, `EACCES`, … if it could not be started. */
  errno: string | undefined
  /** Standard output and error, as they came. */
  output: string
}

export type RunOptions = { account: Account | undefined; env: NodeJS.ProcessEnv }

/** Runs a program to its end. Working directory is `/`, which every account can reach. */
export function run(file: string, args: readonly string[], { account, env }: RunOptions): Promise<Outcome> {
  return new Promise((done) => {
    let output = ''
    try {
      const child = spawn(file, args, { ...asAccount(account), env, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] })
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
      child.once('error', (error: NodeJS.ErrnoException) => done({ code: null, errno: error.code, output }))
      child.once('close', (code) => done({ code, errno: undefined, output }))
    } catch (error) {
      done({ code: null, errno: (error as NodeJS.ErrnoException).code, output })
    }
  })
}

/** The last lines of what a program said, for a sentence. */
export const tail = (output: string, lines = 6) => output.trim().split('\n').slice(-lines).join('\n')
