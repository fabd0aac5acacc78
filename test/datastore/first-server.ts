import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { managedEnv } from '../../src/k3s/datastore.ts'
import { startServer } from '../fakes/k3s/server.ts'
import { startKine } from '../kine/start.ts'

export type FirstServerOptions = {
  /** As in its document */
  endpoint: string
  /** PEM: what vouches for the datastore */
  ca: string
  token: string
  nodeName: string
}

/** K3s of a first server on the real kine, which stops with its lock taken and nothing made yet. */
export type FirstServer = {
  /** The real kine answers what its datastore holds. */
  answers: () => Promise<void>
  /** It goes on, and serves. @returns its CA, PEM @throws Error with what the datastore failed it by */
  goOn: () => Promise<string>
  /** It ends, as K3s does when its datastore fails it. */
  die: () => Promise<void>
}

/** Starts it on an empty disk. @param held whether it stops with its lock taken */
export async function startFirstServer(options: FirstServerOptions, held: boolean): Promise<FirstServer> {
  const root = mkdtempSync(join(tmpdir(), 'k3s-first-'))
  const folder = join(root, 'var/lib/k3s-sim')
  const hold = join(folder, 'hold/locked')
  for (const directory of [join(folder, 'hold'), join(root, 'etc/rancher/node')])
    mkdirSync(directory, { recursive: true })
  writeFileSync(join(root, 'etc/rancher/node/password'), 'ab'.repeat(16))
  writeFileSync(join(root, 'ca.pem'), options.ca)
  writeFileSync(join(folder, 'steps'), '')
  if (held) writeFileSync(hold, '')
  const kine = await startKine({ endpoint: options.endpoint, cafile: join(root, 'ca.pem'), env: managedEnv })
  const { token, nodeName } = options
  const starting = startServer({
    ...{ root, client: kine.client, token, nodeName, sans: [], version: 'v1.36.3+k3s1' },
    ...{ host: '127.0.0.1', port: 0, say: () => {} },
  })
  // Who waits for it is told; one that died is waited for by nobody.
  starting.catch(() => {})
  const reached = () => readFileSync(join(folder, 'steps'), 'utf8').split('\n').includes('locked')
  while (held && !reached()) await sleep(20)
  return {
    answers: async () => {
      const locks = () => kine.client.list('/bootstrap/').catch(() => [])
      while ((await locks()).length === 0) await sleep(100)
    },
    goOn: async () => {
      rmSync(hold, { force: true })
      return (await starting).files.ServerCA as string
    },
    die: async () => {
      await kine.stop()
      rmSync(hold, { force: true })
      const running = await starting.catch(() => undefined)
      await running?.close()
      rmSync(root, { recursive: true, force: true })
    },
  }
}
