import { AppError } from '../errors.ts'
import { type Algorithm, isAlgorithm } from './algorithm.ts'
import type { JsonObject } from './json-object.ts'
import { isThumbprint, type PublicJwk, readPublicJwk, thumbprintOf } from './jwk.ts'

/** What a JWS of a device is for; a proof of one kind never passes as the other. */
export type Typ = 'ztp-claim+jwt' | 'ztp-join+jwt'

/** Where the key is to be found. */
export type KeySource =
  /** A pinned key by name. `thumbprint` is empty where the text given cannot be one: it matches nothing. */
  | { kind: 'kid'; thumbprint: string }
  /** The key itself; well-formed, on its curve or not. */
  | { kind: 'jwk'; thumbprint: string; jwk: PublicJwk }
  /** A certificate chain, leaf first, standard base64 by rule; not looked into yet. */
  | { kind: 'x5c'; chain: readonly string[] }

export type Header = { alg: Algorithm; typ: Typ }

const sources = ['kid', 'jwk', 'x5c'] as const
type Source = (typeof sources)[number]
const members: readonly string[] = ['alg', 'typ', ...sources]

/**
 * Checks a header. First failure wins, in this order: a foreign member (`crit`, `jku`, `x5u`, `b64` …) or another `typ`
 * is `header_invalid`; `alg` missing or not allowed is `alg_not_allowed`; no or several key sources `header_key_source`;
 * last, the one source in a wrong form (a JWK that is private, short, of another curve …) `header_invalid` again.
 * Whether `alg` fits the key is no matter of form: with `kid` it shows only at the signature, so it does with `jwk`.
 * @throws AppError without detail
 */
export function checkHeader(header: JsonObject, typ: Typ): { header: Header; keySource: KeySource } {
  if (Object.keys(header).some((member) => !members.includes(member))) throw invalid('a member that is not allowed')
  if (header.typ !== typ) throw invalid(`typ is not ${typ}`)
  if (!isAlgorithm(header.alg)) throw new AppError('alg_not_allowed')
  const [source, ...more] = sources.filter((member) => Object.hasOwn(header, member))
  if (!source || more.length > 0)
    throw new AppError('header_key_source', { cause: `${more.length + (source ? 1 : 0)} key sources` })
  return { header: { alg: header.alg, typ }, keySource: readers[source](header[source]) }
}

const readers: Record<Source, (value: unknown) => KeySource> = {
  kid(value) {
    if (typeof value !== 'string') throw invalid('kid is not a string')
    return { kind: 'kid', thumbprint: isThumbprint(value) ? value : '' }
  },
  jwk(value) {
    const result = readPublicJwk(value)
    if ('reason' in result) throw invalid(`jwk ${result.reason}`)
    return { kind: 'jwk', thumbprint: thumbprintOf(result.jwk), jwk: result.jwk }
  },
  x5c(value) {
    if (!isTexts(value)) throw invalid('x5c is not a list of strings')
    return { kind: 'x5c', chain: value }
  },
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string')
}

function invalid(cause: string): AppError {
  return new AppError('header_invalid', { cause })
}
