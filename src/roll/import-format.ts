import type { z } from '@hono/zod-openapi'
import { reservedNames } from '../documents/profile.ts'
import { AppError } from '../errors.ts'
import { CsvRecords, type Row } from './csv.ts'
import { ImportInput } from './device-input.ts'
import { type Line, LineSplitter } from './lines.ts'

/**
 * A line that is not taken. `line` is its record's first line in the file, counted from 1, a CSV header included; `path` is the member
 * that is wrong, where it is one.
 */
export type Refusal = { line: number; serial?: string; path?: string; reason: string }

export type ImportLine = { line: number; input: ImportInput } | Refusal

/** Reads an import from pieces of its bytes. */
export type ImportReader = {
  /** @throws AppError `invalid` when a CSV header names a column that we do not know */
  push: (chunk: Uint8Array) => ImportLine[]
  end: () => ImportLine[]
}

const single = ['serial', 'profile', 'cluster', 'role', 'hostname', 'min_assurance', 'uuid', 'note'] as const
const identityColumns = ['identity.thumbprint', 'identity.pem'] as const
const lists = ['macs'] as const
const known = new Set<string>([...single, ...identityColumns, ...lists])

/** `application/x-ndjson`: one object a line, as for POST, with everything but the serial optional. */
export function ndjsonReader(): ImportReader {
  const splitter = new LineSplitter()
  const read = (lines: Line[]) => lines.filter((l) => l.reason || l.text.trim() !== '').map(readObject)
  return { push: (chunk) => read(splitter.push(chunk)), end: () => read(splitter.end()) }
}

/** `text/csv`: a header of JSON names, `labels.<k>` and `vars.<k>`; lists are joined with `;`; an empty cell is not given. */
export function csvReader(): ImportReader {
  const splitter = new LineSplitter()
  const records = new CsvRecords()
  let header: string[] | undefined
  const take = (row: Row | undefined): ImportLine[] => {
    if (!row) return []
    if (header) return readRow(header, row)
    header = readHeader(row)
    return []
  }
  return {
    push: (chunk) => splitter.push(chunk).flatMap((line) => take(records.next(line))),
    end: () => {
      const last = [...splitter.end().map((line) => records.next(line)), records.end()].flatMap(take)
      if (!header) throw badHeader([{ path: 'header', line: 1, reason: 'the file is empty' }])
      return last
    },
  }
}

function readHeader(row: Row): string[] {
  if ('reason' in row) throw badHeader([{ path: 'header', line: row.line, reason: row.reason }])
  const names = row.cells.map((cell) => cell.trim())
  const problem = (path: string, reason: string) => ({ path: path.slice(0, 100), line: row.line, reason })
  const errors = names.flatMap((name, i) => {
    if (names.indexOf(name) < i) return [problem(name, 'the column stands there twice')]
    return isKnown(name) ? [] : [problem(name, unknownColumn(name))]
  })
  if (!names.includes('serial')) errors.push(problem('serial', 'the column is missing'))
  if (errors.length > 0) throw badHeader(errors.slice(0, 100))
  return names
}

function isKnown(name: string): boolean {
  const own = /^(?:labels|vars)\.(.+)/s.exec(name)?.[1]
  return known.has(name) || (own !== undefined && !reservedNames.has(own))
}

function unknownColumn(name: string): string {
  if (name.includes('\r')) return 'lines must end with LF or CRLF'
  if (/[;\t]/.test(name)) return 'columns are separated by commas'
  return reservedNames.has(name.slice(name.indexOf('.') + 1)) ? 'the name is reserved' : 'there is no such column'
}

function badHeader(errors: { path: string; line: number; reason: string }[]): AppError {
  return new AppError('invalid', { detail: 'the header of the file is not valid', errors })
}

function readRow(header: string[], row: Row): ImportLine[] {
  if ('reason' in row) return [{ line: row.line, reason: row.reason }]
  const { line, cells } = row
  if (cells.length !== header.length) {
    return [{ line, reason: `has ${cells.length} cells where the header has ${header.length}` }]
  }
  const record: Record<string, unknown> = {}
  for (const [i, name] of header.entries()) {
    const cell = (cells[i] as string).trim()
    if (cell !== '') put(record, name, cell)
  }
  return [check(line, record)]
}

function put(record: Record<string, unknown>, name: string, cell: string) {
  const dot = name.indexOf('.')
  if (name === 'macs') record[name] = cell.split(';').map((item) => item.trim())
  else if (dot < 0) record[name] = cell
  else {
    const group = name.slice(0, dot)
    record[group] ??= group === 'identity' ? { kind: 'key' } : {}
    ;(record[group] as Record<string, string>)[name.slice(dot + 1)] = cell
  }
}

function readObject({ line, text, reason }: Line): ImportLine {
  if (reason) return { line, reason }
  try {
    return check(line, JSON.parse(text))
  } catch {
    return { line, reason: 'is not JSON' }
  }
}

function check(line: number, record: unknown): ImportLine {
  const result = ImportInput.safeParse(record)
  if (result.success) return { line, input: result.data }
  const serial = serialOf(record)
  return { line, ...(serial === undefined ? {} : { serial }), ...explain(result.error.issues) }
}

function explain(issues: readonly z.core.$ZodIssue[]): { path?: string; reason: string } {
  const [first] = issues
  if (issues.length === 1 && first) return { path: pathOf(first), reason: first.message.slice(0, 300) }
  const reasons = issues.slice(0, 3).map((issue) => `${pathOf(issue)}: ${issue.message}`)
  return { reason: reasons.join('; ').slice(0, 300) }
}

const pathOf = (issue: z.core.$ZodIssue) => issue.path.join('.').slice(0, 100)

/** The serial of a refused record, as far as it can be shown. */
function serialOf(record: unknown): string | undefined {
  const serial: unknown =
    typeof record === 'object' && record !== null && 'serial' in record ? record.serial : undefined
  return typeof serial === 'string' && /^[\x20-\x7e]{1,64}$/.test(serial) ? serial : undefined
}
