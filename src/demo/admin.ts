import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** The demo's admin: calls the real HTTP API with curl, by pinned key, as the printed commands do. */
export type Admin = {
  post: (path: string, body: unknown) => Promise<unknown>
  postLines: (path: string, lines: unknown[]) => Promise<unknown>
  get: (path: string) => Promise<unknown>
  /** File with the Authorization header: a token never stands in an argument. */
  headerFile: string
}

export function makeAdmin(folder: string, url: string, pins: string, token: string): Admin {
  const headerFile = join(folder, 'admin.header')
  writeFileSync(headerFile, `Authorization: Bearer ${token}\n`, { mode: 0o600 })
  const call = (path: string, more: string[], body?: string) =>
    curl(['-sS', '-k', '--pinnedpubkey', pins, '-H', `@${headerFile}`, ...more, `${url}${path}`], body)
  const send = (path: string, type: string, body: string) =>
    call(path, ['-H', `Content-Type: ${type}`, '--data-binary', '@-'], body)
  return {
    headerFile,
    get: (path) => call(path, []),
    post: (path, body) => send(path, 'application/json', JSON.stringify(body)),
    postLines: (path, lines) =>
      send(path, 'application/x-ndjson', lines.map((line) => JSON.stringify(line)).join('\n')),
  }
}

async function curl(args: string[], body = ''): Promise<unknown> {
  const child = spawn('curl', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(body)
  const chunks: Buffer[] = []
  for await (const chunk of child.stdout) chunks.push(chunk as Buffer)
  const answer = JSON.parse(Buffer.concat(chunks).toString()) as { code?: string; detail?: string; errors?: unknown }
  if (answer.code)
    throw new Error(`the server refused: ${answer.code} ${answer.detail ?? JSON.stringify(answer.errors)}`)
  return answer
}
