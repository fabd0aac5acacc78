/** How a command meets the world; tests pass their own. */
export type Io = {
  env: Readonly<Record<string, string | undefined>>
  /** Standard output: only what scripts rely on */
  out: (line: string) => void
  /** Standard error: for people */
  err: (line: string) => void
  /** Asks whoever sits at the terminal; undefined where there is none */
  ask?: ((question: string) => Promise<string>) | undefined
}

/**
 * One command.
 * @returns exit code: 0 done, 1 failed, 2 wrong usage
 * @throws UsageError or ConfigError for wrong usage, anything else is a failure whose message is shown
 */
export type Command = (args: readonly string[], io: Io) => Promise<number>

/** Wrong usage: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
