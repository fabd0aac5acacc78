import type { Logger } from 'pino'
import type { ManagedDatastore } from '../datastore/managed.ts'
import type { MirroredRelease } from '../k3s/mirror-sources.ts'
import type { Database } from '../store/database.ts'
import type { Vault } from '../store/vault.ts'

/** What this server is to its devices: all of it is printed into documents. */
export type Settings = {
  /** Origin of the public URL, no slash at the end */
  publicUrl: string
  /** The public URL was guessed or is loopback: a lint warning (`public_url_guessed`) */
  publicUrlGuessed: boolean
  /** What `aud` may be: the public URL's origin first */
  audiences: readonly string[]
  /** `sha256//…;sha256//…` */
  pins: string
  /** PEM */
  ca: string
  /** Where documents fetch K3s' installer and binaries from, unless the mirror has them */
  k3s: { installScriptUrl: string; artifactUrl: string }
}

/** The sealed keys that every replica shares. */
export type ServerKeys = {
  /** 32 bytes, HMAC of nonces */
  nonce: Uint8Array
  /** 32 bytes, node passwords are derived from it */
  nodePassword: Uint8Array
}

/** K3s releases on this server's own disk. */
export type Mirror = {
  /** Documents may name nothing else: a version that is not here is refused */
  only: boolean
  find: (version: string) => MirroredRelease | undefined
  /** Where the bytes of a file are */
  file: (version: string, name: string) => { path: string; sha256: string } | undefined
}

/** What every use case may need; tests pass a fixed clock, fixed bytes, a real database. */
export type Context = Database & {
  vault: Vault
  keys: ServerKeys
  settings: Settings
  /** The clusters' PostgreSQL; undefined where none is configured */
  managed?: ManagedDatastore | undefined
  /** Tells held task polls of a cluster, here and on other replicas, to look again; undefined where none are held (command line) */
  wake?: ((clusterId: string) => void) | undefined
  /** Undefined: documents never name it */
  mirror?: Mirror | undefined
  log: Logger
  /** Unix seconds */
  now: () => number
  random: (bytes: number) => Uint8Array
}
