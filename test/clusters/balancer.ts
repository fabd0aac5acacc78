import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { labAddress } from '../lab/network.ts'

type Backend = { host: string; port: number }

/** A TCP load balancer in front of a cluster's servers, or a door to a program that listens on loopback alone. */
export class Balancer {
  readonly host = labAddress
  readonly port: number
  backends: Backend[]
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #turn = 0

  private constructor(server: Server, backends: Backend[]) {
    this.#server = server
    this.backends = backends
    this.port = (server.address() as AddressInfo).port
  }

  static async open(...backends: Backend[]): Promise<Balancer> {
    let balancer: Balancer
    const server = createServer((socket) => balancer.#serve(socket))
    await new Promise<void>((done) => server.listen(0, labAddress, done))
    balancer = new Balancer(server, backends)
    return balancer
  }

  /** Ends what is open and lets nothing in until `reopen`: a server that is gone. */
  cut(): Backend[] {
    const before = this.backends
    this.backends = []
    for (const socket of this.#sockets) socket.destroy()
    return before
  }

  close(): void {
    this.#server.close()
    this.cut()
  }

  #serve(client: Socket): void {
    this.#keep(client)
    const first = this.#turn++
    const rest = this.backends.map((_, i) => this.backends[(first + i) % this.backends.length] as Backend)
    const next = () => {
      const backend = rest.shift()
      if (!backend) return void client.destroy()
      const server = connect({ ...backend, timeout: 1_000 })
      this.#keep(server)
      server.once('timeout', () => server.destroy(new Error('timeout')))
      server.once('error', next)
      server.once('connect', () => {
        server.setTimeout(0)
        server.off('error', next)
        client.pipe(server).pipe(client)
        server.once('close', () => client.destroy())
        client.once('close', () => server.destroy())
      })
    }
    next()
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
  }
}
