import { isIP } from 'node:net'
import { z } from '@hono/zod-openapi'
import { parseDatastoreAddress } from './k3s/datastore-address.ts'

// What one setting may be. All come as text: from the environment, a flag or a file.

export const port = z
  .string()
  .regex(/^\d{1,5}$/, 'must be a port number, 0 to 65535')
  .transform(Number)
  .refine((n) => n <= 65_535, 'must be a port number, 0 to 65535')
export const whole = (low: number, high: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, `must be a whole number, ${low} to ${high}`)
    .transform(Number)
    .refine((n) => n >= low && n <= high, `must be a whole number, ${low} to ${high}`)
export const hostName = z.string().regex(/^[A-Za-z0-9.:_-]{1,253}$/, 'must be a host name or an IP address')
export const list = z.string().transform((text) => text.split(/[\s,]+/).filter((item) => item !== ''))
export const pem = (what: string) =>
  z.string().refine((text) => text.includes(`-----BEGIN ${what}`), `must be PEM or its file`)

const holdsNoPrivateKey = (text: string) => !text.includes('PRIVATE KEY')

/** Certificates that others are given, whole. */
export const authorities = pem('CERTIFICATE').refine(
  holdsNoPrivateKey,
  'holds a private key, and everybody is given this file: give certificates alone',
)

export const publicKey = z
  .string()
  .refine(
    (text) => /-----BEGIN (?:PUBLIC KEY|CERTIFICATE)/.test(text),
    'must be the PEM of a public key or certificate, or its file',
  )
  .refine(holdsNoPrivateKey, 'holds a private key: give its public half alone')

export const origin = (protocol: string) =>
  z
    .url({ error: `must be a URL, e.g. ${protocol}//rollcall.example.net` })
    .refine((text) => new URL(text).protocol === protocol, `must begin with ${protocol}//`)
    .refine((text) => bare(new URL(text)), 'must be an origin: no path, query, user or password')
    .transform((text) => new URL(text).origin)
export const datastoreAddress = z.string().superRefine((text, context) => {
  const hosts = parseDatastoreAddress(text)
  if (typeof hosts === 'string') context.addIssue({ code: 'custom', message: hosts })
})
export const network = z
  .string()
  .refine((text) => text === 'all' || isNetwork(text), 'must be `all` or networks such as 10.20.0.0/16')
export const webUrl = z
  .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
  .transform((t) => t.replace(/\/$/, ''))
export const databaseUrl = z
  .string()
  .regex(/^postgres(?:ql)?:\/\/\S+$/, 'must begin with postgres:// (or be unset, for the embedded PostgreSQL)')

// What pg_hba.conf takes, and nothing that could begin another word there.
function isNetwork(text: string): boolean {
  const [address = '', bits = '', ...rest] = text.split('/')
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address) as 0 | 4 | 6]
  return rest.length === 0 && !address.includes('%') && /^\d{1,3}$/.test(bits) && Number(bits) <= most
}

const bare = (url: URL) => url.pathname === '/' && !url.search && !url.hash && !url.username && !url.password
