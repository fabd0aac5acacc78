/** Every refusal that Rollcall can give: one row here, nowhere else. PROTOCOL.md, "Errors". */
export const codes = {
  claim_malformed: [400, 'The claim is not one compact JWS'],
  header_invalid: [400, 'The JWS header has a member that is missing, wrong or not allowed'],
  alg_not_allowed: [400, 'The signature algorithm is not allowed'],
  header_key_source: [400, 'The JWS header must name exactly one key source'],
  device_time_claim: [400, 'A claim carries no exp or nbf: only the server has a clock'],
  claim_schema: [400, 'The claim has a member that is missing or wrong'],
  request_invalid: [400, 'The request is not valid'],

  nonce_invalid: [401, 'The nonce was not issued by this server'],
  nonce_expired: [401, 'The nonce is too old'],
  wrong_audience: [401, 'The claim is meant for another server'],
  bad_signature: [401, 'The signature does not verify'],
  x5c_untrusted: [401, 'The certificate is not trusted'],
  tpm_unsupported: [401, 'TPM evidence is not supported'],
  token_invalid: [401, 'The token is missing, unknown or ended'],
  credential_invalid: [401, 'The node credential is missing, unknown or ended'],

  device_unknown: [403, 'No such device, or not with this key'],
  device_revoked: [403, 'The device was revoked'],
  device_retired: [403, 'The device was retired'],
  trust_too_low: [403, 'The claim proves less than the device must'],
  not_armed: [403, 'The device is not armed'],
  forbidden: [403, 'The token does not allow this'],

  not_found: [404, 'Nothing here'],
  method_not_allowed: [405, 'Method not allowed'],

  identity_conflict: [409, 'The device is bound to another identity'],
  reenroll_denied: [409, 'The device has joined and may not enrol again'],
  claim_replayed: [409, 'The nonce was used already'],
  already_redeemed: [409, 'The join token was redeemed already'],
  already_exists: [409, 'It exists already'],
  state_conflict: [409, 'The present state does not allow this'],

  precondition_failed: [412, 'The resource has changed meanwhile'],
  claim_too_large: [413, 'The claim is too large'],
  body_too_large: [413, 'The body is too large'],
  media_type: [415, 'The content type is not supported'],

  invalid: [422, 'The input is not valid'],
  idempotency_mismatch: [422, 'The idempotency key was used for another request'],

  rate_limited: [429, 'Too many requests'],
  internal: [500, 'Internal error'],

  pending_approval: [503, 'The device waits for an admin'],
  cluster_not_ready: [503, 'The cluster is not ready for this device'],
  busy: [503, 'The server is busy'],
  shutting_down: [503, 'The server is shutting down'],
  datastore_unavailable: [503, 'The database is not available'],
} as const satisfies Record<string, readonly [status: number, title: string]>

export type Code = keyof typeof codes

/** One thing wrong with admin input: where (JSON path or column), the line for imports, and why. */
export type FieldError = { path: string; reason: string; line?: number }

export type AppErrorOptions = {
  /** For whoever asked. Never a secret, never another device's data. */
  detail?: string
  /** For the log; never leaves the server. */
  cause?: unknown
  errors?: readonly FieldError[]
  /** Seconds, for a 503: the base to which the edge adds jitter. */
  retryAfter?: number
}

/**
 * A refusal. `detail` is for whoever asked; `cause` is for the log and never leaves the server.
 * Untyped errors become `internal` at the edge, without their message (http/problem.ts).
 */
export class AppError extends Error {
  readonly code: Code
  readonly detail: string | undefined
  readonly errors: readonly FieldError[] | undefined
  readonly retryAfter: number | undefined

  constructor(code: Code, options: AppErrorOptions = {}) {
    super(code, { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.detail = options.detail
    this.errors = options.errors
    this.retryAfter = options.retryAfter
  }

  get status(): number {
    return codes[this.code][0]
  }

  get title(): string {
    return codes[this.code][1]
  }
}
