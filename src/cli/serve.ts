import { join } from 'node:path'
import type { Logger } from 'pino'
import { type Addresses, addressesOf, ownAddress } from '../addresses.ts'
import { createApp, createBootApp } from '../app.ts'
import type { Config } from '../config.ts'
import { createLog } from '../log.ts'
import { operationsOf } from '../operations.ts'
import { type Lock, tryLock } from '../postgres/lock.ts'
import { prepareDataDirectory } from '../postgres/place.ts'
import { pooledRandom } from '../random.ts'
import { type Listener, listenHttp, listenHttps } from '../server.ts'
import type { Context } from '../services/context.ts'
import { taskPolls } from '../services/poll-tasks.ts'
import { taskWaker } from '../services/task-wake.ts'
import { startBackground } from './background.ts'
import type { Command, Io } from './command.ts'
import { credentialsOf, warnOfForeignKey } from './credentials.ts'
import { type End, endSignal } from './end-signal.ts'
import { readFlags } from './flags.ts'
import { certify, prepareManaged } from './managed.ts'
import { mirrorOf } from './mirror-place.ts'
import { openStore, type Store, unixTime } from './open-store.ts'
import { settingsOf, warnings } from './settings.ts'

/** Milliseconds between renewals of our own certificate. */
const renewEvery = 24 * 3_600_000

/** `rollcall serve`: until SIGTERM or SIGINT. */
export const serve: Command = async (args, io) => {
  const { config } = readFlags(args, io)
  const log = createLog(config.logLevel)
  const end = endSignal()
  survive(log)
  const lock = takeDataDirectory(config)
  try {
    const store = await openStore(config, (message) => log.warn(message), end.signal)
    try {
      if (!end.signal.aborted) await run(config, store, log, io, end)
    } finally {
      await store.close()
    }
  } catch (error) {
    if (!end.signal.aborted) throw error
  } finally {
    lock.release()
  }
  log.info('ended')
  return 0
}

async function run(config: Config, store: Store, log: Logger, io: Io, end: End): Promise<void> {
  await prepareManaged(config, store, log, unixTime())
  const own = ownAddress()
  const wanted = addressesOf(config, { https: config.httpsPort, http: config.httpPort }, own)
  const https = await listenHttps(config.host, config.httpsPort, await credentialsOf(config, store, wanted.sans))
  const listeners = [https]
  try {
    const http = await listenHttp(config.host, config.httpPort)
    listeners.push(http)
    const addresses = addressesOf(config, { https: https.port, http: http.port }, own)
    const base = contextOf(config, store, addresses, log)
    const polls = taskPolls(base)
    const context = { ...base, wake: taskWaker(base, polls.wake) }
    const operations = operationsOf(context, () => end.signal.aborted)
    https.serve(createApp(context, operations, polls))
    http.serve(createBootApp(context, operations))
    const background = startBackground(context, polls, operations.metrics, config.keep)
    const renewal = renewing(config, store, addresses, https, log)
    for (const warning of warnings(config, addresses)) log.warn(warning)
    warnOfForeignKey(config, store, (message) => log.warn(message))
    log.info({ publicUrl: addresses.publicUrl, bootUrl: addresses.bootUrl, pins: context.settings.pins }, 'ready')
    io.out(`rollcall ready https=${addresses.https} http=${addresses.http}`)

    await end.first
    log.info('draining')
    clearInterval(renewal)
    polls.close()
    await background.stop()
  } finally {
    await drain(listeners, config.drainSeconds * 1_000, end)
  }
}

function contextOf(config: Config, store: Store, addresses: Addresses, log: Logger): Context {
  return {
    ...store.database,
    vault: store.vault,
    keys: store.keys,
    settings: settingsOf(config, addresses, store.tls),
    managed: store.managed,
    mirror: mirrorOf(config),
    log,
    now: unixTime,
    random: pooledRandom(),
  }
}

async function drain(listeners: readonly Listener[], patience: number, end: End): Promise<void> {
  const all = (deadline: number) => Promise.all(listeners.map((listener) => listener.drain(deadline)))
  await Promise.race([all(patience), end.second.then(() => all(0))])
}

function renewing(config: Config, store: Store, { sans }: Addresses, https: Listener, log: Logger): NodeJS.Timeout {
  const renew = async () => {
    try {
      https.renew(await credentialsOf(config, store, sans))
      if (store.embedded) await certify(config, store.embedded, store.tls, unixTime())
    } catch (error) {
      log.error({ err: { message: (error as Error).message } }, 'a certificate could not be renewed')
    }
  }
  return setInterval(renew, renewEvery).unref()
}

function takeDataDirectory({ dataDirectory }: Config): Lock {
  prepareDataDirectory(dataDirectory)
  const lock = tryLock(join(dataDirectory, 'run'), 'serve')
  if ('release' in lock) return lock
  throw new Error(
    `Rollcall already runs on ${dataDirectory} (process ${lock.pid}): stop it first, or give another --data-dir`,
  )
}

// A stray rejection must not take the server from all its devices; a thrown error leaves nobody knows what behind.
function survive(log: Logger): void {
  const about = (error: unknown) => ({ err: { message: (error as Error)?.message, stack: (error as Error)?.stack } })
  process.on('unhandledRejection', (error) => log.error(about(error), 'unhandled rejection'))
  process.on('uncaughtException', (error) => {
    log.fatal(about(error), 'uncaught exception')
    process.exit(1)
  })
}
