import { type Agent, request } from 'node:https'

export type Answer = { status: number; body: string }

export type AskOptions = {
  method?: string
  headers?: Record<string, string>
  body?: string | Buffer
  /** PEM; without it anybody is believed */
  ca?: string
  cert?: string
  key?: string
  agent?: Agent
}

/** One request to a cluster. @throws Error where nobody answers */
export function ask(url: string, { body, ...options }: AskOptions = {}): Promise<Answer> {
  return new Promise((done, fail) => {
    const sent = request(
      url,
      { timeout: 10_000, rejectUnauthorized: options.ca !== undefined, ...options },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', fail)
        response.once('end', () => done({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }))
      },
    )
    sent.once('timeout', () => sent.destroy(new Error('no answer in time')))
    sent.once('error', fail)
    sent.end(body)
  })
}
