import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Whether PostgreSQL could have this port at all addresses that it is to listen at: it starts where it gets but one of them.
 * @param listen `listen_addresses`: comma-separated, `*` for all
 */
export async function isFree(port: number, listen: string): Promise<boolean> {
  const hosts = listen.split(',').flatMap((one) => (one.trim() === '*' ? ['0.0.0.0', '::'] : one.trim() || []))
  for (const host of hosts) {
    if (await isTaken(port, host)) return false
  }
  return true
}

/** A port that nobody has. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

// An address that this machine does not have is PostgreSQL's to tell.
function isTaken(port: number, host: string): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', ({ code }: NodeJS.ErrnoException) => done(code === 'EADDRINUSE'))
    server.listen({ port, host, ipv6Only: true }, () => server.close(() => done(false)))
  })
}
