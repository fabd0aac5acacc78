import pino, { type Logger } from 'pino'

/** Names under which a secret could slip into a log line; nothing should, and this is the second lock. */
const secrets = ['password', 'token', 'secret', 'authorization', 'key', 'claim', 'document', 'nonce', 'url']

/** JSON lines on standard error; standard output belongs to what scripts read. */
export function createLog(level: string): Logger {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: secrets.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
    },
    pino.destination({ fd: 2, sync: true }),
  )
}
