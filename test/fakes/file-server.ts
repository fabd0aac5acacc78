import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** How one request is answered instead of honestly. `cut`: half of the body, then the connection ends. */
export type Fault = { status: number } | 'cut' | 'no-range' | { redirect: string }

/** Files over plain HTTP, with Range, as bad as a test plans it. */
export type FileServer = {
  url: string
  files: Map<string, Buffer>
  /** Paths that were asked for, with the method and the Range */
  seen: string[]
  plan: (path: string, ...faults: Fault[]) => void
  close: () => Promise<void>
}

export async function fileServer(): Promise<FileServer> {
  const files = new Map<string, Buffer>()
  const plans = new Map<string, Fault[]>()
  const seen: string[] = []
  const server = createServer((request, response) => {
    const path = request.url ?? ''
    seen.push([request.method, path, request.headers.range].filter(Boolean).join(' '))
    answer(files.get(decodeURIComponent(path)), plans.get(path)?.shift(), request, response)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files,
    seen,
    plan: (path, ...faults) => plans.set(path, faults),
    close: async () => {
      server.closeAllConnections()
      await new Promise((done) => server.close(done))
    },
  }
}

function answer(
  file: Buffer | undefined,
  fault: Fault | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  if (typeof fault === 'object' && 'redirect' in fault)
    return void response.writeHead(302, { location: fault.redirect }).end()
  if (typeof fault === 'object') return void response.writeHead(fault.status).end()
  if (!file) return void response.writeHead(404).end()
  const from = fault === 'no-range' ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1]
  const start = Number(from ?? 0)
  if (start >= file.length) return void response.writeHead(416).end()
  const headers = { 'content-length': file.length - start }
  if (from === undefined) response.writeHead(200, headers)
  else response.writeHead(206, { ...headers, 'content-range': `bytes ${start}-${file.length - 1}/${file.length}` })
  if (request.method === 'HEAD') return void response.end()
  if (fault !== 'cut') return void response.end(file.subarray(start))
  response.write(file.subarray(start, start + ((file.length - start) >> 1)), () => request.socket.destroy())
}
