/** Whether a text holds what can stand in no endpoint: blanks, controls, letters beyond ASCII. */
export const unprintable = (text: string): boolean => /[^\x21-\x7e]/.test(text)

/** @returns undefined if it is no URL */
export function parsedUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

/** Percent-decodes. @returns undefined if it is not UTF-8 */
export function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
