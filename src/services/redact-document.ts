import { redactBody } from '../documents/redact.ts'
import type { StoredDocument } from '../store/shared-parts.ts'
import type { Context } from './context.ts'
import { openDocument } from './sealed-document.ts'

/** Makes the copy of a kept document that may outlive it: what the device was sent, with placeholders for secrets. */
export const redactor =
  ({ vault }: Pick<Context, 'vault'>) =>
  (enrollmentId: string, stored: StoredDocument): string => {
    const { secrets, body } = openDocument(vault, enrollmentId, stored)
    return (
      redactBody(secrets, body.toString()) ??
      'not kept: the template wrote a secret in a form that could not be taken out\n'
    )
  }
