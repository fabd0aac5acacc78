/** What a test file's process tells the runner, one JSON line each on file descriptor 3. */
export type Message =
  /** Something began that must end, or be followed by another message, within `timeout` ms. */
  | { kind: 'start'; title: string; timeout: number }
  | { kind: 'end'; passed: number; failed: number; skipped: number; only: number }
  /** The tests are over, and these handles keep the process from ending. */
  | { kind: 'open'; handles: string[] }

export const channel = 3
