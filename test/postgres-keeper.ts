// Keeps the tests' PostgreSQL up while any process uses it, then stops it and removes what it kept. Started by test/postgres.ts.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openEmbedded } from '../src/postgres/embedded.ts'
import { tryLock, waitForLock } from '../src/postgres/lock.ts'
import { writeWhole } from '../src/postgres/small-file.ts'
import { others } from '../src/postgres/users.ts'
import { makeSelfSigned } from '../src/tls/certificates.ts'

/** Milliseconds without users after which it ends: long enough from one test file, or run, to the next. */
const linger = 10_000

async function keep(directory: string): Promise<void> {
  if (!('release' in tryLock(directory, 'keeper'))) return
  const server = await openEmbedded({
    dataDirectory: join(directory, 'server'),
    listen: '127.0.0.1',
    port: 0,
    use: 'unit',
    certificate: () => makeSelfSigned(['localhost', '127.0.0.1'], Math.floor(Date.now() / 1000)),
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', autovacuum_naptime: '60s' },
    say: (message) => console.log(message),
  })
  const { password } = server.connection as { password: string }
  const url = `postgres://rollcall:${password}@127.0.0.1:${server.postmaster().port}/rollcall?sslmode=require`
  writeWhole(join(directory, 'url'), url)

  for (let idle = 0; ; idle += 500) {
    if (idle >= linger && (await closeDoor(directory))) break
    await sleep(500)
    if (others(join(directory, 'users')).length > 0) idle = 0
  }
  await server.close()
  // Not `directory` itself: who comes in meanwhile has its note and its lock there, and waits until the next one is up.
  for (const gone of [server.root, join(directory, 'server')]) rmSync(gone, { recursive: true, force: true })
}

// Users enter through the same door, so nobody can come in while it closes.
async function closeDoor(directory: string): Promise<boolean> {
  const door = await waitForLock(directory, 'door', 60_000)
  try {
    if (others(join(directory, 'users')).length > 0) return false
    rmSync(join(directory, 'url'), { force: true })
    return true
  } finally {
    door.release()
  }
}

await keep(process.argv[2] as string)
