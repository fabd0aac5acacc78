import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as assert from 'uvu/assert'

/**
 * Compares a whole artefact with the one in test/golden/. `GOLDEN=write node test/run.mjs …` writes them anew; the difference is reviewed as text.
 */
export function golden(name: string, text: string): void {
  const file = fileURLToPath(new URL(`golden/${name}`, import.meta.url))
  if (process.env.GOLDEN === 'write') writeFileSync(file, text)
  assert.fixture(text, readFileSync(file, 'utf8'), name)
}
