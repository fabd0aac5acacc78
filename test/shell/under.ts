import { suite } from '../suite.ts'
import { shells } from './box.ts'

const all = process.env.ROLLCALL_SHELLS === 'all'

/**
 * A suite for one of the `shells`. `test` runs under each of them; `once` is for what shells do not differ in, and runs under one of them: they take
 * turns. `ROLLCALL_SHELLS=all` runs everything under each.
 */
export function suiteUnder(shell: string, title: string, options: { timeout: number }) {
  const test = suite(`${title} under ${shell}`, options)
  const mine = shells.findIndex(([name]) => name === shell)
  let turn = 0
  const once = (sentence: string, body: Parameters<typeof test>[1]): void => {
    if (all || turn++ % shells.length === mine) test(sentence, body)
  }
  return { test, once }
}
