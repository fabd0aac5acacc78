import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Builtins } from '../documents/compile.ts'
import { builtins } from '../documents/profile.ts'
import { slimScript } from '../documents/slim-script.ts'

/**
 * Reads the built-in documents and the node's script, once at start.
 * @param folder default: `templates/` of this package, whether it runs from src or from dist
 */
export function builtinTemplates(folder = join(packageRoot(), 'templates')): Builtins {
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  const documents = builtins.map((name) => [name, whole(read(`${name.slice('builtin:'.length)}.hbs`), read)])
  return {
    documents: Object.fromEntries(documents) as Builtins['documents'],
    files: nodeScripts(read('rollcall-node.sh'), read('rollcall-server.sh')),
  }
}

/** Where rollcall-node.sh reads its other part: on a node they are one file. */
const otherPart = /^\. "\$\{0%\/\*\}\/rollcall-server\.sh"\n/m

/** What templates may bring in by name: the node's script, whole and as agents need it; without comments, since each document carries it. */
function nodeScripts(node: string, server: string): Builtins['files'] {
  const [before, after] = node.split(otherPart) as [string, string]
  return {
    'rollcall-node.sh': slimScript(`${before}${server.replace(/^#!.*\n/, '')}${after}`),
    'rollcall-agent.sh': slimScript(`${before}${after}`),
  }
}

/**
 * A built-in template with its parts in place, each named on a line of its own. Done on the text, once: documents of one kind share lines, and what
 * admins read, copy and see in line numbers is one whole template without partials.
 */
function whole(text: string, read: (name: string) => string): string {
  return text.replace(/^\{\{> ([a-z0-9-]+)\}\}\n/gm, (_, part) => whole(read(join('parts', `${part}.hbs`)), read))
}

function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder)
  return folder
}
