import { AppError } from '../errors.ts'
import type { Refusal } from '../roll/import-format.ts'

/** The lines that were not taken: at most `shownRefusals` of them, and how many they are. */
export type RefusedLines = { refused: { line: number; serial?: string; reason: string }[]; refused_total: number }

/** Lines that are refused one by one; a file with more is broken as a whole. */
export const shownRefusals = 10_000

/** The refused lines of an import: all counted, the first ones kept. */
export class Findings {
  total = 0
  #kept: Refusal[] = []

  refuse(refusal: Refusal): void {
    this.refuseAll([refusal], 1)
  }

  /** @param first the first ones of `total` lines */
  refuseAll(first: readonly Refusal[], total: number): void {
    this.total += total
    this.#kept.push(...first.slice(0, shownRefusals - this.#kept.length))
  }

  result(): RefusedLines {
    const refused = this.#sorted().map(({ line, serial, path, reason }) => ({
      line,
      ...(serial === undefined ? {} : { serial }),
      reason: path ? `${path}: ${reason}` : reason,
    }))
    return { refused, refused_total: this.total }
  }

  error(): AppError {
    const detail = `nothing was written: ${this.total} ${this.total === 1 ? 'line was' : 'lines were'} refused`
    const errors = this.#sorted().map(({ line, path, reason }) => ({ path: path ?? '', line, reason }))
    return new AppError('invalid', { detail, errors })
  }

  #sorted(): Refusal[] {
    return this.#kept.sort((a, b) => a.line - b.line)
  }
}
