import { createConnection, type Socket } from 'node:net'
import { connect } from 'node:tls'

export type Answer = { status: number; head: string; body: Buffer }

/** Where requests go, and whether each one brings its own connection. */
export type Target = { port: number; tls: boolean; fresh: boolean }

/**
 * One connection to the server, one request at a time: as little client as possible, since it shares the machine with
 * what is measured. Knows Content-Length only, which is all that the measured routes send.
 */
export class Line {
  readonly #target: Target
  #socket: Socket | undefined
  #received: Buffer[] = []
  #settle: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined

  constructor(target: Target) {
    this.#target = target
  }

  async open(): Promise<void> {
    this.#socket ??= await this.#connect()
  }

  async request(bytes: Buffer): Promise<Answer> {
    await this.open()
    const answer = await new Promise<Answer>((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#socket?.write(bytes)
    })
    if (this.#target.fresh) this.close()
    return answer
  }

  close(): void {
    this.#settle = undefined
    this.#socket?.destroy()
    this.#socket = undefined
  }

  #connect(): Promise<Socket> {
    const { port, tls } = this.#target
    return new Promise((resolve, reject) => {
      const at = { host: '127.0.0.1', port, noDelay: true }
      const ready = () => resolve(socket)
      // The certificate is not what is measured here; devices pin the key.
      const socket: Socket = tls ? connect({ ...at, rejectUnauthorized: false }, ready) : createConnection(at, ready)
      const broken = (error?: Error) => {
        reject(error)
        this.#settle?.reject(error ?? new Error('the server closed the connection'))
      }
      socket.on('data', (chunk) => this.#take(chunk)).on('error', broken)
      socket.on('close', () => broken())
    })
  }

  #take(chunk: Buffer): void {
    this.#received.push(chunk)
    const bytes = this.#received.length === 1 ? chunk : Buffer.concat(this.#received)
    const end = bytes.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = bytes.toString('latin1', 0, end)
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0)
    if (bytes.length < end + 4 + length) return
    this.#received = []
    this.#settle?.resolve({ status: Number(head.slice(9, 12)), head, body: bytes.subarray(end + 4) })
  }
}
