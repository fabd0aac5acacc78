import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import type { Config } from './config.ts'

/** What this server is called, inside and outside. */
export type Addresses = {
  /** What the two listeners listen on */
  https: string
  http: string
  /** What documents and scripts name */
  publicUrl: string
  bootUrl: string
  /** The public URL was guessed, or leads nowhere but here */
  publicUrlGuessed: boolean
  publicUrlLoopback: boolean
  /** What `aud` may be; the public URL first */
  audiences: string[]
  /** Host names and addresses for the server's certificate */
  sans: string[]
}

/**
 * Works out the addresses; nothing is ever built from a request's Host header.
 * @param ports that were really taken
 * @param own this machine's address towards the rest of the world, undefined if it has none
 */
export function addressesOf(
  config: Pick<Config, 'host' | 'publicUrl' | 'bootUrl' | 'audiences' | 'tlsSans'>,
  ports: { https: number; http: number },
  own: string | undefined,
): Addresses {
  const given = config.host === undefined || isWildcard(config.host) ? undefined : config.host
  const host = given ?? own ?? '127.0.0.1'
  const https = url('https', host, ports.https)
  const http = url('http', host, ports.http)
  const publicUrl = config.publicUrl ?? https
  const bootUrl = config.bootUrl ?? http
  const publicUrlLoopback = isLoopbackUrl(publicUrl)
  const sans = [hostOf(publicUrl), host, ...config.tlsSans, 'localhost', '127.0.0.1', '::1']
  return {
    https,
    http,
    publicUrl,
    bootUrl,
    publicUrlGuessed: publicUrlLoopback || (config.publicUrl === undefined && given === undefined),
    publicUrlLoopback,
    audiences: [...new Set([publicUrl, ...config.audiences])],
    sans: [...new Set(sans)],
  }
}

/** Whether a URL leads nowhere but to the machine that follows it. */
export const isLoopbackUrl = (text: string) => isLoopback(hostOf(text))

/** The IPv4 address of the interface that has the default route, else of the first one that is not loopback. */
export function ownAddress(): string | undefined {
  const interfaces = networkInterfaces()
  const routed = defaultInterface(routeTable())
  const candidates = routed ? (interfaces[routed] ?? []) : Object.values(interfaces).flatMap((list) => list ?? [])
  return candidates.find((a: NetworkInterfaceInfo) => a.family === 'IPv4' && !a.internal)?.address
}

/**
 * The interface of the default route with the lowest metric.
 * @param table the text of Linux' /proc/net/route
 */
export function defaultInterface(table: string): string | undefined {
  const routes = table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000')
  return routes.sort((a, b) => Number(a[6]) - Number(b[6]))[0]?.[0]
}

function routeTable(): string {
  try {
    return readFileSync('/proc/net/route', 'utf8')
  } catch {
    return ''
  }
}

// WHATWG: no default port, no slash at the end.
function url(protocol: 'https' | 'http', host: string, port: number): string {
  return new URL(`${protocol}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`).origin
}

const hostOf = (text: string) => new URL(text).hostname.replace(/^\[|\]$/g, '')
const isWildcard = (host: string) => host === '0.0.0.0' || host === '::'
const isLoopback = (host: string) => host === 'localhost' || host === '::1' || /^127\./.test(host)
