import type { Io } from './command.ts'

/**
 * Asks whoever sits at the terminal.
 * @param yes `--yes` was given: nobody is asked
 * @throws Error if the answer is not yes, or nobody could be asked
 */
export async function confirm({ ask }: Io, question: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!ask) throw new Error('nobody can be asked here: look at the above, and give --yes')
  const answer = await ask(`${question} [y/N] `)
  if (!/^y(?:es)?$/i.test(answer.trim())) throw new Error('nothing was done')
}
