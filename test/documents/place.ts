import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import YAML from 'yaml'

/** A file as it ended up: path without the root, mode in octal, content. */
export type Placed = { mode: string; content: string }

/** A root folder in which a cloud-init document's bootcmd is run by a real shell; what it calls of the system only takes notes. */
export function placeRoot() {
  const root = mkdtempSync(join(tmpdir(), 'rollcall-place-'))
  const bin = join(root, '.bin')
  const notes = join(root, '.notes')
  mkdirSync(bin)
  writeFileSync(notes, '')
  for (const name of ['sync', 'systemctl', 'update-ca-certificates', 'update-ca-trust', 'restorecon']) {
    writeFileSync(join(bin, name), `#!/bin/sh\necho "${name} $*" >>${notes}\n`)
    chmodSync(join(bin, name), 0o755)
  }

  return {
    root,
    /** Runs the document's one bootcmd; `cut` = how many files are in place when the power goes. */
    boot(body: string, { shell = 'sh', cut = -1 } = {}): { status: number | null; stderr: string } {
      const { bootcmd } = YAML.parse(body, { version: '1.1' }) as { bootcmd: [string] }
      let script = bootcmd[0].replace(/(^place \d{4} |cat )\/(?=[a-z])/gm, `$1${root}/`)
      script = script.replace(/^(?:rm|if grep) .*$/gm, (line) => line.replaceAll(' /', ` ${root}/`))
      const counted = `\ncount=0\nplace() {\n  count=$((count + 1)); [ $count -le ${cut} ] || kill -9 $$`
      if (cut >= 0) script = script.replace('\nplace() {', () => counted)
      const env = { PATH: `${bin}:/usr/bin:/bin` }
      const { status, stderr } = spawnSync(shell, [], { input: script, encoding: 'utf8', env })
      return { status, stderr }
    },
    files: () => Object.fromEntries(listed(root, root).filter(([path]) => !path.startsWith('/.'))),
    notes: () =>
      readFileSync(notes, 'utf8')
        .trim()
        .split('\n')
        .map((line) => line.replaceAll(root, '').trim()),
    write(path: string, content: string): void {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), content)
    },
    remove: () => rmSync(root, { recursive: true }),
  }
}

function listed(root: string, folder: string): [string, Placed][] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry): [string, Placed][] => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return listed(root, path)
    const mode = (statSync(path).mode & 0o7777).toString(8).padStart(4, '0')
    return [[path.slice(root.length), { mode, content: readFileSync(path, 'utf8') }]]
  })
}
