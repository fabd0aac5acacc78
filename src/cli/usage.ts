/** Columns of a terminal, or of a page, that is narrow. */
const width = 100

/** A blank, but not one inside of brackets: there is no place to break. */
const blank = / (?![^[]*\])/

/**
 * How a command is called, one form after the other, each wrapped between its words; what stands in brackets stays together.
 * @param forms without the program's name
 */
export function usageText(forms: readonly string[]): string {
  return ['usage:', ...forms.flatMap((form) => wrapped(form))].join('\n')
}

function wrapped(form: string): string[] {
  const lines = ['  rollcall']
  for (const word of form.split(blank)) {
    const longer = `${lines.at(-1)} ${word}`
    if (longer.length <= width) lines[lines.length - 1] = longer
    else lines.push(`      ${word}`)
  }
  return lines
}
