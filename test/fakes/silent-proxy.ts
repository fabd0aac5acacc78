import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, connect as dial, type Socket } from 'node:net'

/** A way to a server that can stop to bring anything along, as a network or a firewall does: nothing is refused, and nothing closed. */
export type SilentProxy = {
  port: number
  /** Nothing goes through any more, on connections that stand and on new ones. */
  silence: () => void
  speak: () => void
  close: () => Promise<void>
}

export async function silentProxy(target: number): Promise<SilentProxy> {
  const open = new Set<Socket>()
  let silent = false
  const forward = (from: Socket, to: Socket) => {
    open.add(from)
    from.on('data', (bytes) => silent || to.write(bytes))
    from.on('close', () => {
      open.delete(from)
      to.destroy()
    })
    from.on('error', () => {})
  }
  const server = createServer((client) => {
    const behind = dial(target, '127.0.0.1')
    forward(client, behind)
    forward(behind, client)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    silence: () => {
      silent = true
    },
    speak: () => {
      silent = false
    },
    close: async () => {
      for (const socket of open) socket.destroy()
      await new Promise((done) => server.close(done))
    },
  }
}
