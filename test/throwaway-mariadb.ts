import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createConnection } from 'mysql2/promise'
import { chooseAccount } from '../src/postgres/account.ts'
import { freePort } from '../src/postgres/port.ts'
import { makeCa, makeLeaf, newKey } from '../src/tls/certificates.ts'

/** A MariaDB of a test's own, with TLS. */
export type Mariadb = {
  port: number
  /** PEM of the authority behind its certificate, which names localhost and 127.0.0.1 */
  ca: string
  /** Runs one statement as its superuser. */
  run: (statement: string) => Promise<void>
  stop: () => Promise<void>
}

const program = '/usr/sbin/mariadbd'
export const hasMariadb = existsSync(program)
if (!hasMariadb) console.log('skipped: MariaDB is not installed (Debian: mariadb-server)')

/** Starts one on a free port of the loopback. @param names further names in its certificate */
export async function throwawayMariadb(names: readonly string[] = []): Promise<Mariadb> {
  const root = mkdtempSync(join(tmpdir(), 'rollcall-mariadb-'))
  const account = chooseAccount(undefined, join(root, 'data'))
  const now = Math.floor(Date.now() / 1000)
  const [ca, key] = [await makeCa(now), newKey()]
  const files = {
    'ca.pem': ca.certificate,
    'cert.pem': await makeLeaf(ca, key, ['localhost', '127.0.0.1', ...names], now),
    'key.pem': key,
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text)
  chmodSync(root, 0o700)
  for (const path of [root, ...Object.keys(files).map((name) => join(root, name))]) {
    if (account) chownSync(path, account.uid, account.gid)
  }
  const user = account ? { uid: account.uid, gid: account.gid } : {}
  const data = [`--datadir=${root}/data`, '--skip-name-resolve']
  const made = spawnSync('mariadb-install-db', ['--no-defaults', ...data, '--auth-root-authentication-method=normal'], {
    ...user,
    cwd: root,
  })
  if (made.status !== 0) throw new Error(`mariadb-install-db: ${made.stdout}${made.stderr}`)
  const port = await freePort()
  const tls = [`--ssl-ca=${root}/ca.pem`, `--ssl-cert=${root}/cert.pem`, `--ssl-key=${root}/key.pem`]
  const listen = [`--port=${port}`, '--bind-address=127.0.0.1', `--socket=${root}/s`, `--pid-file=${root}/pid`]
  const child = spawn(program, ['--no-defaults', ...data, ...tls, ...listen, '--innodb-flush-log-at-trx-commit=0'], {
    ...user,
    cwd: root,
    stdio: 'ignore',
  })
  const run = async (statement: string) => {
    const connection = await createConnection({ socketPath: `${root}/s`, user: 'root' })
    await connection.query(statement).finally(() => connection.end())
  }
  await untilItAnswers(run)
  return {
    port,
    ca: ca.certificate,
    run,
    stop: async () => {
      const ended = new Promise((done) => child.once('exit', done))
      child.kill('SIGTERM')
      await ended
      rmSync(root, { recursive: true, force: true })
    },
  }
}

async function untilItAnswers(run: (statement: string) => Promise<void>): Promise<void> {
  for (let round = 0; ; round++) {
    try {
      return await run('select 1')
    } catch (error) {
      if (round > 300) throw error
      await sleep(100)
    }
  }
}
