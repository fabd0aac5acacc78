import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Account } from './account.ts'
import type { Place } from './place.ts'
import { writeWhole } from './small-file.ts'

/** Where PostgreSQL has its certificate, and behind it the authority that vouches for it, if it is not its own. */
export const certificateFile = (place: Place) => join(place.data, 'rollcall.crt')
const keyFile = (place: Place) => join(place.data, 'rollcall.key')

/** Makes the pair if there is none. @param make PEM */
export async function prepareCertificate(
  place: Place,
  account: Account | undefined,
  make: () => Promise<{ certificate: string; key: string }>,
): Promise<void> {
  // The key is written last: a pair is there when the key is.
  try {
    readFileSync(keyFile(place))
  } catch {
    const { certificate, key } = await make()
    writeWhole(certificateFile(place), certificate, { account })
    writeWhole(keyFile(place), key, { account })
  }
}

/**
 * Replaces the certificate, never the key: one file, so that a power cut leaves a pair.
 * @returns whether there is a new one, which PostgreSQL has to be told of
 */
export async function replaceCertificate(
  place: Place,
  account: Account | undefined,
  make: (key: string, present: string) => Promise<string | undefined>,
): Promise<boolean> {
  const present = readFileSync(certificateFile(place), 'utf8')
  const certificate = await make(readFileSync(keyFile(place), 'utf8'), present)
  if (certificate === undefined) return false
  writeWhole(certificateFile(place), certificate, { account })
  return true
}
