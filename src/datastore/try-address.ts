import { once } from 'node:events'
import { isIP, connect as openTcp, type Socket } from 'node:net'
import { checkServerIdentity, connect as openTls, type PeerCertificate, type TLSSocket } from 'node:tls'
import postgres from 'postgres'
import type { DatastoreHost } from '../k3s/datastore-address.ts'
import { clustersDatabase, probeRole } from '../k3s/datastore-names.ts'
import { type Answer, failed, wordsFor } from './address-words.ts'

/** Milliseconds that one host may take. */
const patience = 10_000

/**
 * Goes the way that nodes will go: TLS to this name, verified in full by this CA, and a real login into the clusters' database.
 * @param ca PEM
 * @param password of the probe, which our PostgreSQL alone knows
 */
export async function tryHost({ host, port }: DatastoreHost, ca: string, password: string): Promise<Answer> {
  let socket: TLSSocket | undefined
  try {
    socket = await startTls(host, port, ca)
    return await logIn(socket, password)
  } catch (error) {
    return wordsFor(error)
  } finally {
    socket?.destroy()
  }
}

// PostgreSQL protocol, SSLRequest: one byte answers, S or N.
async function startTls(host: string, port: number, ca: string): Promise<TLSSocket> {
  const tcp = openTcp({ host, port })
  tcp.setTimeout(patience, () => tcp.destroy(failed('ETIMEDOUT')))
  try {
    await once(tcp, 'connect')
    tcp.write(Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]))
    const answer = await firstByte(tcp)
    if (answer !== 'S') throw failed(answer === 'N' ? 'NO_TLS' : 'NO_POSTGRES')
    const socket = openTls({
      socket: tcp,
      ca,
      ...(isIP(host) ? {} : { servername: host }),
      checkServerIdentity: (_, certificate) => identityProblem(host, certificate),
    })
    await once(socket, 'secureConnect')
    return socket
  } catch (error) {
    tcp.destroy()
    throw error
  }
}

async function firstByte(tcp: Socket): Promise<string> {
  const closed = once(tcp, 'close').then(() => {
    throw failed('NO_POSTGRES')
  })
  const [data] = (await Promise.race([once(tcp, 'data'), closed])) as [Buffer]
  return String.fromCharCode(data[0] ?? 0)
}

// K3s' driver (Go crypto/x509) looks at alternative names alone, where Node would still take the common name.
function identityProblem(host: string, certificate: PeerCertificate): Error | undefined {
  return certificate.subjectaltname ? checkServerIdentity(host, certificate) : failed('NO_SAN')
}

type Facts = { pid: number; standby: boolean; connections: number }

async function logIn(socket: TLSSocket, password: string): Promise<Answer> {
  const sql = postgres({
    // TLS has begun: postgres.js is to take the connection as it is.
    socket: () => socket,
    ssl: false,
    user: probeRole,
    password,
    database: clustersDatabase,
    max: 1,
    connect_timeout: patience / 1000,
    fetch_types: false,
    onnotice: () => {},
  } as postgres.Options<Record<string, never>>)
  try {
    const result = await sql<Facts[]>`
      select pg_backend_pid() as pid, pg_is_in_recovery() as standby, current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int as connections`
    const [facts] = result
    // A pooler hands out process ids of its own.
    if (!facts || facts.pid !== (result as unknown as { state: { pid: number } }).state.pid) throw failed('POOLER')
    return { kind: facts.standby ? 'standby' : 'primary', connections: facts.connections }
  } finally {
    await sql.end({ timeout: 1 })
  }
}
