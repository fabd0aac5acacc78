import { AppError } from '../errors.ts'

/** A serial as the admin wrote it, and what it is matched by. */
export type Serial = { serial: string; serialKey: string }

const shape = /^[A-Za-z0-9._:/+&#-]+(?: [A-Za-z0-9._:/+&#-]+)*$/
const letterOrDigit = /[A-Za-z0-9]/

// What boards report whose maker never set one: thousands of boxes share it, so it names none of them.
const placeholders = new Set([
  'none',
  'default string',
  'to be filled by o.e.m.',
  'system serial number',
  'not specified',
  '0123456789',
])

/**
 * Reads a serial number. PROTOCOL.md, "Names".
 * @param text surrounding spaces are dropped
 * @returns the serial as entered, and in lower case
 * @throws AppError `invalid` with the reason as detail
 */
export function parseSerial(text: string): Serial {
  const serial = text.trim()
  const reason = whyNot(serial)
  if (reason) throw new AppError('invalid', { detail: reason, errors: [{ path: 'serial', reason }] })
  return { serial, serialKey: serial.toLowerCase() }
}

/** Why a text, already trimmed, is no serial number; undefined if it is one. */
export function whyNot(serial: string): string | undefined {
  if (serial === '') return 'is empty'
  if (serial.length > 64) return 'is longer than 64 characters'
  if (!shape.test(serial)) return 'may hold letters, digits, . _ : / + & # - and single inner spaces only'
  if (!letterOrDigit.test(serial)) return 'needs a letter or a digit'
  if (/^0+$/.test(serial) || placeholders.has(serial.toLowerCase())) return 'is a placeholder that many boards report'
  return undefined
}
