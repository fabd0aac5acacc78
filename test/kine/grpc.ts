import { type ClientHttp2Session, connect } from 'node:http2'
import { connect as connectSocket, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** A refusal by the other side (grpc.github.io/grpc/core/md_doc_statuscodes.html), or `code` 14 where nobody answered. */
export class GrpcError extends Error {
  readonly code: number

  constructor(code: number, message: string) {
    super(`grpc ${code}: ${message}`)
    this.code = code
  }
}

/** Whether nobody was there to answer, or not in time: the same call may go through later. */
export const isUnavailable = (error: unknown): boolean => error instanceof GrpcError && [4, 14].includes(error.code)

/** PEM, for `https://` addresses. */
export type Tls = { ca?: string | undefined; cert?: string | undefined; key?: string | undefined }

/** Milliseconds that a call may take. */
const patience = 10_000

/**
 * Unary gRPC calls over one connection, which is made anew when it broke. Two calls of etcd's are all that is asked, and the
 * library for it brings thirty packages.
 */
export class Grpc {
  readonly #address: string
  readonly #tls: Tls
  #session: ClientHttp2Session | undefined

  /** @param address `unix:///path`, `http://host:port` or `https://host:port` */
  constructor(address: string, tls: Tls = {}) {
    this.#address = address
    this.#tls = tls
  }

  /** @returns the answer's message @throws GrpcError */
  call(path: string, message: Buffer): Promise<Buffer> {
    return new Promise((done, fail) => {
      const stream = this.#connected().request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      const chunks: Buffer[] = []
      let [code, text] = [14, 'the connection ended']
      const late = setTimeout(() => {
        ;[code, text] = [4, 'no answer in time']
        stream.close()
      }, patience)
      const status = (headers: Record<string, unknown>) => {
        if (headers['grpc-status'] === undefined) return
        code = Number(headers['grpc-status'])
        text = decodeURIComponent(String(headers['grpc-message'] ?? ''))
      }
      // A refusal without a message has its status in the first headers.
      stream.on('response', status).on('trailers', status)
      stream.on('data', (chunk: Buffer) => chunks.push(chunk))
      stream.on('error', (error) => {
        if (code === 14) text = error.message
      })
      stream.on('close', () => {
        clearTimeout(late)
        // One byte that says "not compressed", four of length, the message.
        if (code === 0) done(Buffer.concat(chunks).subarray(5))
        else fail(new GrpcError(code, text))
      })
      const head = Buffer.alloc(5)
      head.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([head, message]))
    })
  }

  close(): void {
    this.#session?.destroy()
    this.#session = undefined
  }

  #connected(): ClientHttp2Session {
    if (this.#session && !this.#session.destroyed && !this.#session.closed) return this.#session
    const session = connect('http://kine', { createConnection: () => this.#socket() })
    session.on('error', () => session.destroy())
    // A waiting call keeps the process alive, an idle connection does not.
    session.unref()
    this.#session = session
    return session
  }

  #socket(): Socket {
    if (this.#address.startsWith('unix://')) return connectSocket(this.#address.slice('unix://'.length))
    const { protocol, hostname: host, port } = new URL(this.#address)
    if (protocol === 'http:') return connectSocket(Number(port), host)
    return connectTls({ host, port: Number(port), ALPNProtocols: ['h2'], ...this.#tls })
  }
}
