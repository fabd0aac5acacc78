import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** A terminal for a box, whose whole output is appended to a file. systemd and journald write to terminals only. */
export type Console = { tty: string; close: () => void }

export async function openConsole(file: string): Promise<Console> {
  const holder: ChildProcess = spawn('script', ['-q', '-f', '-a', '-c', 'tty >&3; exec sleep infinity', file], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  })
  const lines = createInterface({ input: holder.stdio[3] as NodeJS.ReadableStream })
  const [tty] = (await once(lines, 'line')) as [string]
  return { tty, close: () => void holder.kill('SIGKILL') }
}
