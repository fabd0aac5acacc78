import { toLine } from './text.ts'

/** What a server says of a task that it was given. */
export type TaskResult = { id: string; ok: boolean; reason: string | null }

const form = /^(tsk_[0-9a-hjkmnp-tv-z]{26}) (?:(ok)|fail(?: (.*))?)$/u

/** Longest reason that is kept, characters. */
const longest = 500

/**
 * Reads `tsk_… ok` and `tsk_… fail <reason>`, one a line. Reasons are shown to admins: control characters and bidirectional overrides go.
 * @returns undefined if a line is neither, or there is none
 */
export function readTaskResults(text: string): TaskResult[] | undefined {
  const results: TaskResult[] = []
  for (const line of text.split('\n')) {
    const words = line.trim()
    if (words === '') continue
    const found = form.exec(words)
    if (!found) return undefined
    const ok = found[2] === 'ok'
    results.push({
      id: found[1] as string,
      ok,
      reason: ok ? null : toLine(found[3] ?? '', longest) || 'no reason was given',
    })
  }
  return results.length === 0 ? undefined : results
}
