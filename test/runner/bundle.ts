import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build, type Plugin } from 'esbuild'

const root = fileURLToPath(new URL('../..', import.meta.url))
/** In the project: libraries are found from there. */
const folder = join(root, 'node_modules/.cache/bundles')

// A module finds the files beside its source, wherever it is bundled to.
const sourceUrl: Plugin = {
  name: 'source URL',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8')
      const url = JSON.stringify(pathToFileURL(path).href)
      return {
        loader: 'ts',
        contents: source.includes('import.meta.url') ? `const sourceUrl__ = ${url}; ${source}` : source,
      }
    }),
}

/** Of our own modules, in one folder until `remove`. */
export type Bundle = { file: (name: string) => string; remove: () => void }

/**
 * Makes plain JavaScript of TypeScript entries, with all of our own that they import. To load 200 modules one by one through a loader costs a process two
 * seconds on Node 20, in which a bundle has run most test files to their end.
 * @param entries name → path from the project's root
 * @throws Error in esbuild's words if one cannot be read or parsed, or imports what is not there
 */
export async function bundle(entries: Record<string, string>): Promise<Bundle> {
  mkdirSync(folder, { recursive: true })
  const outdir = mkdtempSync(join(folder, 'run-'))
  // Tests run it as other users too.
  chmodSync(outdir, 0o755)
  const remove = () => rmSync(outdir, { recursive: true, force: true })
  process.once('exit', remove)
  await build({
    absWorkingDir: root,
    entryPoints: entries,
    outdir,
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outExtension: { '.js': '.mjs' },
    sourcemap: 'linked',
    sourcesContent: false,
    define: { 'import.meta.url': 'sourceUrl__' },
    plugins: [sourceUrl],
    logLevel: 'silent',
  })
  return {
    file: (name) => join(outdir, `${name}.mjs`),
    remove: () => {
      process.removeListener('exit', remove)
      remove()
    },
  }
}
