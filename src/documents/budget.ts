/** What one rendering may cost: calls of helpers and runs of blocks, and characters that they make; in the document and on the way to it. */
export const budget = { steps: 20_000, one: 1_048_576, all: 8_388_608 } as const

/** A rendering that asks for more than it may. */
export class Spent extends Error {}

/** Counts what one rendering costs: templates are run at once, and nothing else is done meanwhile. */
export class Budget {
  private steps = 0
  private made = 0

  /** One call of a helper, or one run of a block. @throws Spent */
  step(): void {
    if (++this.steps > budget.steps) throw new Spent(`one step more than the ${budget.steps} that a document may take`)
  }

  /**
   * A text, best counted before it is made.
   * @throws Spent
   */
  text(length: number): void {
    this.made += length
    if (length > budget.one) throw new Spent('more than 1 MiB')
    if (this.made > budget.all) throw new Spent('more than 8 MiB on the way to the document')
  }
}
