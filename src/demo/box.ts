import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'
import { harmless } from './stand-in.ts'

/** From src/demo and from dist/demo alike. */
const client = fileURLToPath(new URL('../../templates/client.sh', import.meta.url))

/** One file that a document lays on a node. */
export type Placed = { mode: number; path: string; content: string }

export type BoxOptions = {
  folder: string
  serial: string
  url: string
  pins: string
  /** Where the programs of its system are */
  path: string
  /** What the box says on its console */
  hear: (line: string) => void
}

/**
 * A box whose disk is a folder: the real client.sh and the real rollcall-node, with paths and programs of their own, so that
 * nothing of the machine they run on is touched.
 */
export function makeBox({ folder, serial, url, pins, path, hear }: BoxOptions) {
  const at = (name: string) => join(folder, name)
  for (const name of ['etc', 'run', 'state', 'bin']) mkdirSync(at(name), { recursive: true, mode: 0o700 })
  for (const [name, text] of Object.entries(harmless)) writeFileSync(at(`bin/${name}`), text, { mode: 0o755 })
  const env = {
    PATH: `${at('bin')}:${path}`,
    ROLLCALL_URL: url,
    ROLLCALL_PIN: pins,
    ROLLCALL_SERIAL: serial,
    ROLLCALL_ENV: at('etc/client.env'),
    ROLLCALL_ETC: at('etc'),
    ROLLCALL_STATE: at('state'),
    ROLLCALL_RUN: at('run'),
    // A K3s of whoever looks is none of the demo's business.
    ROLLCALL_DATA: at('data'),
    ROLLCALL_CONSOLE: '/dev/null',
    ROLLCALL_STEP_CLOCK: '0',
    INSTALL_K3S_BIN_DIR: at('bin'),
  }
  const run = (script: string, ...args: string[]) => shell(script, args, env, hear)

  return {
    /** Makes its key; one line for the admin. */
    identity: async (): Promise<Record<string, unknown>> => JSON.parse(await run(client, 'identity')),
    /** Calls in until it has its document. */
    claim: async (): Promise<string> => {
      await run(client, 'claim')
      return readFileSync(at('run/user-data'), 'utf8')
    },
    /** Lays the document's files below its own /etc, as cloud-init's bootcmd would below the real one. */
    place: (document: string): Placed[] => {
      const files = filesOf(document)
      for (const { path, mode, content } of files) {
        const target = path.startsWith('/etc/') ? at(path.slice(1)) : at(`root${path}`)
        mkdirSync(dirname(target), { recursive: true })
        writeFileSync(target, content, { mode })
      }
      return files
    },
    /** Runs the installer's steps until the node is ready. */
    install: async () => {
      await run(at('root/usr/local/sbin/rollcall-node'), 'install')
    },
  }
}

/** The files in a cloud-init document, out of its one placing script. */
export function filesOf(document: string): Placed[] {
  const { bootcmd } = parse(document) as { bootcmd: string[] }
  const block = /^place (0[0-7]{3}) (\S+) <<'(\w+)'\n([\s\S]*?\n)?\3$/gm
  return [...bootcmd.join('\n').matchAll(block)].map(([, mode = '', path = '', , content = '']) => ({
    mode: Number.parseInt(mode, 8),
    path,
    content,
  }))
}

function shell(
  script: string,
  args: string[],
  env: Record<string, string>,
  hear: (line: string) => void,
): Promise<string> {
  const child = spawn('sh', [script, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  createInterface(child.stderr).on('line', hear)
  return new Promise((done, fail) => {
    child.once('error', fail)
    child.once('close', (code) => (code === 0 ? done(output) : fail(new Error(`${args.join(' ')} ended with ${code}`))))
  })
}
