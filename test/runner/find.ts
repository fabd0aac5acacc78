import { readdirSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'

/** Found only when named: they need programs that not every machine has, or measure. */
const byName = ['test/lab', 'test/e2e', 'test/bench']

/** Begun first, because they take longest: none of them is then the last that all wait for. */
const longest = 'test/shell/'

/** Races an attack against a watch that looks four times a second: beside other tests it would try the machine instead. */
const alone: readonly string[] = ['test/datastore/locks.test.ts']

/** Whether a file runs when all others are through, by itself. */
export const isAlone = (file: string): boolean => alone.includes(file)

/**
 * The test files to run, each once: those that take longest, then the others by name.
 * @param root the project's folder
 * @param names files or folders; none = all of `test/`
 * @throws Error if a name does not exist, or holds no test file
 */
export function findTests(root: string, names: readonly string[]): string[] {
  const found = names.length === 0 ? all(root) : named(root, names)
  const first = (file: string) => Number(!file.startsWith(longest))
  return [...new Set(found)].sort((a, b) => first(a) - first(b) || (a < b ? -1 : 1))
}

const all = (root: string) => below(root, 'test').filter((f) => !byName.some((folder) => f.startsWith(`${folder}/`)))

function named(root: string, names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const path = relative(root, join(root, relative(root, name)))
      .split(sep)
      .join('/')
    const stat = statSync(join(root, path), { throwIfNoEntry: false })
    if (!stat) throw new Error(`no such test: ${name}`)
    const files = stat.isDirectory() ? below(root, path) : [path]
    if (files.length === 0) throw new Error(`no test in ${name}`)
    return files
  })
}

function below(root: string, folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((path) => `${folder}/${path.split(sep).join('/')}`)
    .filter((path) => path.endsWith('.test.ts') && !path.includes('/fixtures/'))
}
