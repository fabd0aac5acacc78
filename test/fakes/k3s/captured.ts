import { readFileSync } from 'node:fs'
import { connect, type OutgoingHttpHeaders } from 'node:http2'

export type Exchange = { status: number; headers: Record<string, string>; body: string }

/** What the real K3s answered. */
export function captured(name: string): Exchange {
  const text = readFileSync(new URL(`../../fixtures/k3s-v1.36.3/${name}.http`, import.meta.url), 'utf8')
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const headers = lines.map((line) => line.split(/: (.*)/s).slice(0, 2))
  return { status: Number(first.split(' ')[1]), headers: Object.fromEntries(headers), body: rest.join('\r\n\r\n') }
}

/** The same question to the simulator, over HTTP/2 as curl asked it. */
export function exchange(
  url: string,
  path: string,
  headers: OutgoingHttpHeaders = {},
  body?: Buffer,
): Promise<Exchange> {
  const session = connect(url, { rejectUnauthorized: false })
  return new Promise<Exchange>((done, fail) => {
    session.once('error', fail)
    const stream = session.request({ ':path': path, ':method': body ? 'POST' : 'GET', ...headers })
    let answer: Exchange = { status: 0, headers: {}, body: '' }
    stream.on('response', ({ ':status': status, ...rest }) => {
      answer = { ...answer, status: status ?? 0, headers: rest as Record<string, string> }
    })
    stream.on('data', (chunk: Buffer) => {
      answer.body += chunk
    })
    stream.once('error', fail).once('end', () => done(answer))
    stream.end(body)
  }).finally(() => session.close())
}
