// The devices, in a process of their own: `node --import tsx test/bench/load.ts`, told by IPC what to do.
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { type PublicJwk, thumbprintOf } from '../../src/identity/jwk.ts'
import { publicJwkOf } from '../fakes/public-jwk.ts'
import { Polls } from './hold.ts'
import { Line, type Target } from './line.ts'

export type Order =
  | { do: 'keys'; count: number }
  /** Fetches nonces and signs claims; nothing is timed. `passes` claims a device, of devices 0 … count - 1. */
  | { do: 'sign'; count: number; passes: number; audience: string; port: number; fault?: Fault }
  /** Sends what was signed; every answer must be `status`. */
  | { do: 'claim'; target: Target; inFlight: number; status?: number }
  | { do: 'get'; path: string; target: Target; inFlight: number; requests: number }
  /** Holds a task poll for each credential; what is answered is asked again, until `release`. */
  | { do: 'hold'; credentials: string[]; port: number; wait: number }
  | { do: 'look' }
  | { do: 'release' }

/** What is wrong with a claim: a nonce that the server did not make, a signature of something else, a serial that is not on the roll. */
export type Fault = 'nonce' | 'signature' | 'serial'
export type Pinned = { jwk: PublicJwk; thumbprint: string }
export type Timing = { seconds: number; count: number; p50: number; p99: number; refused: Record<string, number> }

type Device = Pinned & { claim: (nonce: string, audience: string, fault?: Fault) => string }

const devices: Device[] = []
const polls = new Polls()
let requests: Buffer[] = []

export const serialOf = (index: number) => `BENCH-${index}`

async function obey(order: Order): Promise<unknown> {
  if (order.do === 'keys') return makeKeys(order.count)
  if (order.do === 'sign') return signClaims(order)
  if (order.do === 'claim') return run(requests, order.target, order.inFlight, order.status)
  if (order.do === 'hold') return polls.open(order.port, order.credentials, order.wait)
  if (order.do === 'look') return polls.look()
  if (order.do === 'release') return polls.close()
  const request = get(order.path)
  return run(
    Array.from({ length: order.requests }, () => request),
    order.target,
    order.inFlight,
  )
}

function makeKeys(count: number): Pinned[] {
  for (let index = devices.length; index < count; index++) devices.push(makeDevice(serialOf(index)))
  return devices.slice(0, count).map(({ jwk, thumbprint }) => ({ jwk, thumbprint }))
}

function makeDevice(sub: string): Device {
  const { publicKey, privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { x, y } = publicJwkOf(publicKey) as { x: string; y: string }
  const jwk: PublicJwk = { crv: 'P-256', kty: 'EC', x, y }
  const thumbprint = thumbprintOf(jwk)
  const header = b64u(JSON.stringify({ alg: 'ES256', typ: 'ztp-claim+jwt', kid: thumbprint }))
  const claim = (nonce: string, aud: string, fault?: Fault) => {
    const eat_nonce = fault === 'nonce' ? b64u(randomBytes(36)) : nonce
    const who = fault === 'serial' ? `NOT-${sub}` : sub
    const input = `${header}.${b64u(JSON.stringify({ sub: who, aud, eat_nonce, jti: randomBytes(16).toString('hex') }))}`
    const signed = fault === 'signature' ? `${input} ` : input
    return `${input}.${b64u(sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' }))}`
  }
  return { jwk, thumbprint, claim }
}

async function signClaims({ count, passes, audience, port, fault }: Order & { do: 'sign' }): Promise<void> {
  const challenge = get('/v1/challenge')
  const signed: Buffer[] = []
  let next = 0
  const worker = async () => {
    const line = new Line({ port, tls: false, fresh: false })
    for (let i = next++; i < count * passes; i = next++) {
      const { head } = await line.request(challenge)
      const nonce = /\r\nrollcall-nonce: (\S+)/i.exec(head)?.[1] as string
      signed[i] = post((devices[i % count] as Device).claim(nonce, audience, fault))
    }
    line.close()
  }
  await Promise.all(Array.from({ length: 16 }, worker))
  requests = signed
}

async function run(all: readonly Buffer[], target: Target, inFlight: number, expected = 200): Promise<Timing> {
  const times: number[] = []
  const refused: Record<string, number> = {}
  let next = 0
  const worker = async () => {
    const line = new Line(target)
    for (let bytes = all[next++]; bytes; bytes = all[next++]) {
      const from = performance.now()
      const { status } = await line.request(bytes)
      times.push(performance.now() - from)
      if (status !== expected) refused[status] = (refused[status] ?? 0) + 1
    }
    line.close()
  }
  const from = performance.now()
  await Promise.all(Array.from({ length: inFlight }, worker))
  const seconds = (performance.now() - from) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  return { seconds, count: times.length, p50: at(0.5), p99: at(0.99), refused }
}

const get = (path: string) => Buffer.from(`GET ${path} HTTP/1.1\r\nHost: rollcall.bench\r\n\r\n`)
const post = (claim: string) =>
  Buffer.from(
    `POST /v1/claim HTTP/1.1\r\nHost: rollcall.bench\r\nContent-Type: application/jose\r\nContent-Length: ${claim.length}\r\n\r\n${claim}`,
  )
const b64u = (data: Uint8Array | string) => Buffer.from(data).toString('base64url')

process.on('message', (order: Order) => {
  obey(order).then(
    (result) => process.send?.({ result }),
    (error: Error) => process.send?.({ error: error.stack ?? error.message }),
  )
})
