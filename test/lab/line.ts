import { connect, createServer, type Server, type Socket } from 'node:net'
import { labAddress } from './network.ts'

/** What a box's line does with its `n`-th connection since power on (1 = first). */
export type Fate =
  /** passes everything */
  | 'pass'
  /** refuses, as if the server were gone */
  | 'refuse'
  /** passes what the box says, swallows what the server answers, and tells `onAnswer` */
  | { onAnswer: () => void }

/** The wire between boxes and the server: TLS passes through untouched, each box has its own fate. */
export class Line {
  readonly port: number
  readonly #server: Server
  readonly #fates = new Map<string, (n: number) => Fate>()
  readonly #counts = new Map<string, number>()

  private constructor(server: Server, port: number) {
    this.#server = server
    this.port = port
  }

  static async open(target: () => { host: string; port: number }): Promise<Line> {
    let line: Line
    const server = createServer((box) => line.#connected(box, target()))
    await new Promise<void>((resolve) => server.listen(0, labAddress, resolve))
    line = new Line(server, (server.address() as { port: number }).port)
    return line
  }

  /** From now on `fate` decides about the connections of the box at `ip`, which are counted anew. */
  decide(ip: string, fate: (n: number) => Fate): void {
    this.#fates.set(ip, fate)
    this.#counts.set(ip, 0)
  }

  /** How many connections the box at `ip` opened since the last `decide`. */
  count(ip: string): number {
    return this.#counts.get(ip) ?? 0
  }

  close(): void {
    this.#server.close()
  }

  #connected(box: Socket, target: { host: string; port: number }): void {
    const ip = box.remoteAddress ?? ''
    const n = this.count(ip) + 1
    this.#counts.set(ip, n)
    const fate = this.#fates.get(ip)?.(n) ?? 'pass'
    box.on('error', () => {})
    if (fate === 'refuse') return void box.resetAndDestroy()
    const server = connect(target)
    server.on('error', () => box.destroy())
    box.on('close', () => server.destroy())
    server.on('close', () => box.destroy())
    box.pipe(server)
    if (fate === 'pass') return void server.pipe(box)
    // The handshake must pass; what follows the first thing that the box sends after it is the answer.
    answersAfterHandshake(box, server, fate.onAnswer)
  }
}

function answersAfterHandshake(box: Socket, server: Socket, onAnswer: () => void): void {
  let asked = false
  // TLS 1.3: the client's first application-data record (type 23) is its Finished, a small one; the request follows.
  let records = 0
  box.on('data', (chunk) => {
    for (let at = 0; at + 5 <= chunk.length; at += 5 + chunk.readUInt16BE(at + 3)) {
      if (chunk[at] === 23) records++
    }
    asked = records > 1
  })
  server.on('data', (chunk) => {
    if (asked && chunk[0] === 23 && chunk.length > 600) return onAnswer()
    box.write(chunk)
  })
}
