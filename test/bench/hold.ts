import { connect, type TLSSocket } from 'node:tls'

export type Held = { open: number; answered: number; refused: Record<string, number> }

/** Servers of clusters that poll for tasks, each on a connection of its own: what is answered is asked again at once. */
export class Polls {
  readonly #sockets: TLSSocket[] = []
  #held: Held = { open: 0, answered: 0, refused: {} }

  /** Opens them, `together` at a time, as a site that comes back would. */
  async open(port: number, credentials: readonly string[], wait: number, together = 64): Promise<Held> {
    let next = 0
    const worker = async () => {
      for (let i = next++; i < credentials.length; i = next++) await this.#open(port, credentials[i] as string, wait)
    }
    await Promise.all(Array.from({ length: together }, worker))
    return this.#held
  }

  /** How it went since the last look. */
  look(): Held {
    const held = this.#held
    this.#held = { open: held.open, answered: 0, refused: {} }
    return held
  }

  close(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy()
  }

  #open(port: number, credential: string, wait: number): Promise<void> {
    const request = `GET /v1/tasks?wait=${wait} HTTP/1.1\r\nHost: rollcall.bench\r\nAuthorization: Bearer ${credential}\r\n\r\n`
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
        this.#held.open++
        socket.write(request)
        resolve()
      })
      socket.on('data', (chunk) => {
        const status = chunk.toString('latin1', 9, 12)
        this.#held.answered++
        if (status !== '204') this.#held.refused[status] = (this.#held.refused[status] ?? 0) + 1
        socket.write(request)
      })
      socket.on('error', reject)
      socket.on('close', () => this.#held.open--)
      this.#sockets.push(socket)
    })
  }
}
