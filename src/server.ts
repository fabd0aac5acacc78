import { constants } from 'node:crypto'
import {
  createServer as createHttp,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttps, type Server as HttpsServer } from 'node:https'
import { type AddressInfo, Server as NetServer } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { noteThrown, type Shortcut } from './http/shortcut.ts'

/** An application of Hono's, whatever its types, and what answers some requests before it. */
export type App = {
  fetch: (request: Request, env?: never) => Response | Promise<Response>
  shortcut?: Shortcut
}

/** PEM. */
export type Credentials = { certificate: string; key: string }

/** What one socket may cost. Imports stream for minutes; every other body has its own, shorter time (http/body.ts). */
const limits = {
  headersTimeout: 10_000,
  requestTimeout: 300_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
  // A voucher stands in a header or in the URL.
  maxHeaderSize: 32 * 1024,
}
const handshakeTimeout = 10_000
/** Twice what a site of 10,000 waiting devices holds; more are cut off before they cost memory. */
const maxConnections = 20_000
/** Milliseconds that idle connections are kept at the end, so that their next request gets a 503 and not a reset. */
const farewell = 1_000

/** One listening socket whose routes may come later: documents name the port, which is only known once it listens. */
export type Listener = {
  port: number
  /** Requests that came before wait for this. */
  serve: (app: App) => void
  /** A new certificate for new connections; HTTPS only. */
  renew: (credentials: Credentials) => void
  /** Accepts nothing more, lets what runs end, cuts what still runs after `deadline` ms. */
  drain: (deadline: number) => Promise<void>
}

/** @throws Error with a sentence if the port is taken */
export function listenHttps(host: string | undefined, port: number, credentials: Credentials): Promise<Listener> {
  const app = lateApp()
  const options = { ...limits, ...tlsOptions(credentials), handshakeTimeout }
  return listen(createHttps(options, app.listener), host, port, app.serve, '--https-port (ROLLCALL_HTTPS_PORT)')
}

/** @throws Error with a sentence if the port is taken */
export function listenHttp(host: string | undefined, port: number): Promise<Listener> {
  const app = lateApp()
  return listen(createHttp(limits, app.listener), host, port, app.serve, '--http-port (ROLLCALL_HTTP_PORT)')
}

// Every program of a box begins anew with each process (curl, python-requests), so nobody comes back with a ticket; two are made a connection, which is
// 4 % of its cost. And a ticket's session can be read by whoever gets the key that it is sealed under, which Node keeps as long as the context
// (RFC 9325, section 3.4). OpenSSL still sends what names a session in TLS 1.3, but there is no memory to find it in.
const tlsOptions = ({ certificate, key }: Credentials) => ({
  cert: certificate,
  key,
  minVersion: 'TLSv1.2' as const,
  secureOptions: constants.SSL_OP_NO_TICKET,
})

function lateApp() {
  let serve: (app: App) => void = () => {}
  const app = new Promise<App>((done) => {
    serve = (given) => done(given)
  })
  let ready: App | undefined
  void app.then((given) => {
    ready = given
  })
  const listener = getRequestListener((request, env) =>
    ready ? ready.fetch(request, env as never) : app.then((given) => given.fetch(request, env as never)),
  )
  return {
    listener: (incoming: IncomingMessage, outgoing: ServerResponse) => {
      // Nobody reads the body of a GET, and Node would wait for its end as long as for an import's.
      if (incoming.method === 'GET' || incoming.method === 'HEAD') outgoing.on('finish', endUnread)
      const pass = (thrown: unknown) => {
        noteThrown(incoming, thrown)
        void listener(incoming, outgoing)
      }
      return ready?.shortcut?.(incoming, outgoing, pass) || listener(incoming, outgoing)
    },
    serve,
  }
}

// One function for all: ten thousand requests wait at a time.
function endUnread(this: ServerResponse): void {
  if (!this.req.complete) this.req.socket.destroySoon()
}

function listen(
  server: HttpServer | HttpsServer,
  host: string | undefined,
  port: number,
  serve: Listener['serve'],
  setting: string,
): Promise<Listener> {
  server.maxConnections = maxConnections
  return new Promise((done, fail) => {
    const failed = (error: NodeJS.ErrnoException) =>
      fail(new Error(sentence(error, host, port, setting), { cause: error }))
    server.once('error', failed)
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', failed)
      done({
        port: (server.address() as AddressInfo).port,
        serve,
        renew: (credentials) => {
          if ('setSecureContext' in server) server.setSecureContext(tlsOptions(credentials))
        },
        drain: (deadline) => drain(server, deadline),
      })
    })
  })
}

async function drain(server: HttpServer, deadline: number): Promise<void> {
  // http's own close() cuts idle connections at once: their next request would be lost instead of being told to go elsewhere.
  const closed = new Promise((done) => NetServer.prototype.close.call(server, done))
  let idle: NodeJS.Timeout | undefined
  const patience = setTimeout(
    () => {
      idle = setInterval(() => server.closeIdleConnections(), 50)
    },
    Math.min(farewell, deadline),
  )
  const cut = setTimeout(() => server.closeAllConnections(), deadline)
  await closed
  for (const timer of [patience, idle, cut]) clearTimeout(timer)
  // Stops its watch over slow requests too.
  server.close(() => {})
}

function sentence(error: NodeJS.ErrnoException, host: string | undefined, port: number, setting: string): string {
  const where = `${host ?? '*'}:${port}`
  if (error.code === 'EADDRINUSE') return `${where} is in use by another program: choose another port by ${setting}`
  if (error.code === 'EACCES') return `May not listen on ${where}: ports below 1024 need CAP_NET_BIND_SERVICE`
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') return `This machine has no address ${host}`
  return `Cannot listen on ${where}: ${error.message}`
}
