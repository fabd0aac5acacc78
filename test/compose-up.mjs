// `npm run compose:up`: makes the secrets that compose.yaml names, once, and starts it.
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as compose from 'docker-compose'

const cwd = fileURLToPath(new URL('..', import.meta.url))
const folder = `${cwd}compose/secrets`

const stop = (sentence) => {
  console.error(sentence)
  process.exit(1)
}

const available = await compose.version({ cwd }).then(
  () => true,
  () => false,
)
if (!available) {
  stop(
    'There is no Docker with its compose plugin here (`docker compose version` fails). Install both, or run Rollcall without containers: npm run demo, or node dist/main.js serve.',
  )
}
if (!process.env.ROLLCALL_PUBLIC_URL) {
  stop(
    'Set ROLLCALL_PUBLIC_URL to the https URL under which devices reach this machine, e.g. https://rollcall.example.org:8443.',
  )
}
makeSecrets()
await compose.upAll({ cwd, log: true, commandOptions: ['--build', '--wait'] }).catch((error) => {
  stop(`docker compose up failed: ${error.err || error.message || error}`)
})
console.log(`Rollcall is up at ${process.env.ROLLCALL_PUBLIC_URL}. A first admin token:
  docker compose exec rollcall node dist/main.js token create --name admin --scope admin`)

/**
 * The folder is closed, the files in it are not: compose mounts them as they are, and a container's user must read its own.
 */
function makeSecrets() {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  keep('postgres-password', randomBytes(24).toString('base64url'))
  const password = keep('rollcall-password', randomBytes(24).toString('base64url'))
  keep('database-url', `postgres://rollcall:${password}@postgres:5432/rollcall`)
}

/** What the file holds already, else what is written into it now. */
function keep(name, text) {
  const path = `${folder}/${name}`
  if (!existsSync(path)) writeFileSync(path, text, { mode: 0o444 })
  return readFileSync(path, 'utf8')
}
