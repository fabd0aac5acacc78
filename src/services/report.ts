import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import { type Report, readReport } from '../roll/report.ts'
import { insertReports, isReportToken, keepRedacted, type NewReport, type ReportRow } from '../store/report.ts'
import type { StoredDocument } from '../store/shared-parts.ts'
import { batcher } from './batch.ts'
import type { Context } from './context.ts'
import { contradiction } from './name-alarm.ts'
import { isRowError } from './row-error.ts'

/** Most events that one enrollment may append: a box in a loop must not fill the disk. */
export const reportCap = 2_000

/**
 * The most reports that share a statement, the most statements at a time, and milliseconds between two. Fifty boxes at first boot post some 200 reports a
 * second, which each brought a statement of its own; shared by two, one costs a third less in node a report, and a sixth less in Postgres. A report that none came
 * just before waits for nothing.
 */
const storm = { max: 256, inFlight: 2, apart: 10 } as const

export type ReportDeps = Pick<Context, 'db' | 'sql' | 'now' | 'log'> & {
  /** Makes the redacted copy of a document whose sealed copy was just wiped. */
  redact: (enrollmentId: string, stored: StoredDocument) => string
  /** Counts reports over the cap. */
  dropped?: () => void
}

/**
 * Appends a report to the timeline of the enrollment that its token belongs to.
 * Acknowledged after commit; what arrives together shares one statement.
 * @throws AppError `not_found` for an unknown or ended token, `request_invalid` for a body that is no report
 */
export function reporter(deps: ReportDeps): (token: string, body: string) => Promise<void> {
  const insert = batcher<NewReport, ReportRow | undefined>({
    ...storm,
    run: (reports) => insertReports(deps.sql, reports, reportCap),
    isolate: isRowError,
  })
  return async (token, body) => {
    const report_hash = createHash('sha256').update(token).digest('hex')
    const report = readReport(body)
    if (!report) return refuse(deps, report_hash)
    const row = await insert({ ...report, report_hash, at: deps.now() })
    if (!row) throw new AppError('not_found')
    if (!row.kept) deps.dropped?.()
    if (row.kept && row.observed && isSetback(report)) await contradict(deps, row.enrollment_id, report.name)
    const { document_sealed: sealed, document_shared: shared } = row
    if (sealed) await keepRedactedCopy(deps, row.enrollment_id, { sealed, shared })
  }
}

const isSetback = ({ step, name, result }: Report) =>
  step && result === 'fail' && (name === 'k3s.join' || name === 'k3s.ready')

/** The report is committed; an alarm that cannot be raised now is raised by the next one. */
async function contradict(deps: ReportDeps, enrollmentId: string, step: string): Promise<void> {
  try {
    await contradiction(deps, enrollmentId, step)
  } catch (error) {
    deps.log.warn({ err: { message: (error as Error).message }, enrollment: enrollmentId }, 'alarm not raised')
  }
}

/** A stranger learns nothing about the form of a report: an unknown token is 404 before the body is judged. */
async function refuse(deps: ReportDeps, reportHash: string): Promise<never> {
  if (!(await isReportToken(deps.sql, reportHash, deps.now()))) throw new AppError('not_found')
  throw new AppError('request_invalid', { detail: 'neither a step, nor a webhook event, nor a phone_home form' })
}

/** The wipe is committed with the report; its redacted successor is not worth failing a report for. */
async function keepRedactedCopy(deps: ReportDeps, enrollmentId: string, stored: StoredDocument): Promise<void> {
  try {
    await keepRedacted(deps.sql, enrollmentId, deps.redact(enrollmentId, stored))
  } catch (error) {
    deps.log.error({ err: { message: (error as Error).message }, enrollment: enrollmentId }, 'no redacted copy kept')
  }
}
