import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { loadConfig } from '../src/config.ts'
import { redacted, redactedUrl } from '../src/config-redacted.ts'
import { suite } from './suite.ts'

const test = suite('the configuration, shown')

const shown = (env: Record<string, string>) =>
  redacted(loadConfig({ flags: {}, env, root: true })) as Record<string, unknown>
const block = (what: string, body: string) => `-----BEGIN ${what}-----\n${body}\n-----END ${what}-----`

test('hides every password of a database, however it is written', () => {
  const places = {
    'postgres://u:s3cret@h1:5432,h2:5432/d': 'postgres://u:***@h1:5432,h2:5432/d',
    'postgres://u:p@s3cret@host/db': 'postgres://u:***@host/db',
    'postgres://u:p/s3cret@host/db': 'postgres://u:***@host/db',
    'postgres://u:s3cret/p@ss@[fd00::1]:5432/db': 'postgres://u:***@[fd00::1]:5432/db',
    'postgresql://:s3cret@host': 'postgresql://:***@host',
    'postgres://u@host/db?password=s3cret&sslmode=verify-full': 'postgres://u@host/db?password=***&sslmode=verify-full',
    'postgres://u@h/d?sslmode=require&sslpassword=s3cret': 'postgres://u@h/d?sslmode=require&sslpassword=***',
    'postgres://u@h/d?password=a&s3cret': 'postgres://u@h/d?password=***&***',
    'postgres://u@h/d?p%61ssword=s3cret': 'postgres://u@h/d?***',
    'postgres://u@h/d?password=a#s3cret': 'postgres://u@h/d?password=***#***',
    'postgres://u@h/d?password=a@s3cret': 'postgres://***',
    'postgres://u:a?sslmode=s3cret@h/d': 'postgres://***',
    'postgres://u:a#s3cret@h/d': 'postgres://***',
    'postgres://u:s3cret': 'postgres://***',
  }
  for (const [url, expected] of Object.entries(places)) {
    assert.is(shown({ DATABASE_URL: url }).databaseUrl, expected)
  }
})

test('hides logins and queries of the places that K3s comes from', () => {
  const { k3s } = shown({
    ROLLCALL_K3S_SCRIPT_URL: 'https://s3cret:s3cret@mirror.example/{version}/install.sh',
    ROLLCALL_K3S_ARTIFACT_URL: 'https://s3cret@mirror.example/k3s?X-Amz-Signature=s3cret#s3cret',
  })
  assert.equal(k3s, {
    scriptUrl: 'https://***@mirror.example/{version}/install.sh',
    artifactUrl: 'https://***@mirror.example/k3s?***#***',
    mirror: 'auto',
  })
})

test('shows of a PEM what is public', () => {
  const certificate = block('CERTIFICATE', 'YQ==')
  const key = block('PRIVATE KEY', 's3cret')
  const config = shown({ ROLLCALL_TLS_CERT: `${key}\n${certificate}\n${certificate}`, ROLLCALL_TLS_KEY: key })
  assert.equal(config.tls, { certificate: `${certificate}\n${certificate}\n***`, key: '***' })
  const next = block('PUBLIC KEY', 'Yg==')
  assert.is(shown({ ROLLCALL_TLS_NEXT_KEY: next }).tlsNextKey, next)
  assert.is(shown({ ROLLCALL_TLS_CA: certificate }).tlsCa, certificate)
})

/** Pieces that are looked for one by one, with all between them that ends something in a URL or a PEM. */
const secret = fc
  .array(fc.constantFrom('@', '/', ':', '?', '#', '&', '=', '%', '%40', '\\', ',', ';', '[', ']', '-----', '', '://'), {
    minLength: 1,
    maxLength: 6,
  })
  .map((between) => between.map((text) => `s3cret${text}`).join(''))

const certificate = secret.map((text) => `${block('CERTIFICATE', 'YQ==')}\n${block('RSA PRIVATE KEY', text)}`)
const key = secret.map((text) => block('PRIVATE KEY', text))

/** What a server can start with, or believes it can. */
const taken = fc.record({
  DATABASE_URL: fc.oneof(
    secret.map((text) => `postgres://u:${text}@h/d`),
    secret.map((text) => `postgres://u:${text}@h1:1,h2:2/d?sslmode=require`),
    fc.tuple(secret, secret).map(([a, b]) => `postgres://u:${a}@h/d?sslpassword=${b}&password=${a}`),
    secret.map((text) => `postgres://h/d?sslmode=disable&password=${text}`),
  ),
  ROLLCALL_K3S_SCRIPT_URL: fc.tuple(secret, secret).map(([a, b]) => `https://1:1/${a}@mirror/{version}?${b}`),
  ROLLCALL_K3S_ARTIFACT_URL: secret.map((text) => `https://u:${encodeURIComponent(text)}@mirror/?token=${text}`),
  ROLLCALL_AUDIENCES: secret.map((text) => `https://u:${text.replaceAll(',', '')}@roll`),
  ROLLCALL_TLS_CERT: certificate,
  ROLLCALL_TLS_KEY: key,
})
/** What is refused, in words. */
const refused = fc.record(
  {
    ROLLCALL_K3S_SCRIPT_URL: secret.map((text) => `https://u:${text}@mirror`),
    ROLLCALL_PUBLIC_URL: secret.map((text) => `https://u:${text}@roll`),
    ROLLCALL_TLS_KEY: secret,
    ROLLCALL_TLS_CA: certificate,
    ROLLCALL_TLS_NEXT_KEY: fc.oneof(certificate, key),
    ROLLCALL_DATASTORE_ADDRESS: secret.map((text) => `u:${text}@h`),
    ROLLCALL_DATASTORE_CA: certificate,
  },
  { requiredKeys: [] },
)

test('holds no piece of any secret', () => {
  fc.assert(
    fc.property(taken, (env) => {
      assert.not.match(JSON.stringify(shown(env)), 's3cret')
    }),
    { numRuns: 1_000 },
  )
})

test('is refused without a piece of any secret', () => {
  let count = 0
  fc.assert(
    fc.property(taken, refused, (good, bad) => {
      try {
        shown({ ...good, ...bad })
      } catch (error) {
        count++
        assert.not.match((error as Error).message, 's3cret')
      }
    }),
    { numRuns: 1_000 },
  )
  assert.ok(count > 900, `only ${count} were refused`)
})

test('hides what is no URL', () => {
  assert.is(redactedUrl('s3cret'), '***')
})
