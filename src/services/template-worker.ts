// The thread in which templates are tried that nobody has tried before: template-thread.ts starts it and ends it.
import { parentPort } from 'node:worker_threads'
import { compileDocument } from '../documents/compile.ts'
import { lintTemplate } from '../documents/lint.ts'
import type { Reason } from '../documents/template-error.ts'
import { AppError } from '../errors.ts'
import { builtinTemplates } from './builtin-templates.ts'
import type { TemplateJob, TemplateOutcome } from './template-thread.ts'

const builtins = builtinTemplates()

function outcomeOf(job: TemplateJob): TemplateOutcome {
  if (job.kind === 'lint') return { problems: lintTemplate(job.spec, builtins) }
  try {
    const { body, contentType } = compileDocument(job.spec, builtins).renderWhole(job.input)
    return { body, contentType }
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid') return { reasons: error.cause as Reason[] }
    throw error
  }
}

parentPort?.on('message', (job: TemplateJob) => parentPort?.postMessage(outcomeOf(job)))
parentPort?.postMessage('ready')
