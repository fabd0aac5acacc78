import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)

export type Output = { stdout: string; stderr: string }

/** Runs a program without a shell; rejects with its output when it fails. `env` is added to ours. */
export async function command(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Output> {
  try {
    return await exec(program, [...args], { env: { ...process.env, ...env }, maxBuffer: 64 << 20 })
  } catch (error) {
    const { stdout = '', stderr = '', code } = error as { stdout?: string; stderr?: string; code?: unknown }
    throw new Error(`${program} ${args.join(' ')}: exit ${code}\n${stdout}${stderr}`)
  }
}

/** Like `command`, for programs whose failure is an answer. */
export async function attempt(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Output & { code: number }> {
  return new Promise((resolve, reject) => {
    execFile(program, [...args], { env: { ...process.env, ...env } }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error)
      else resolve({ stdout, stderr, code: error ? Number(error.code) : 0 })
    })
  })
}
