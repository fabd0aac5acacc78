import { type ChildProcess, fork, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type postgres from 'postgres'
import { openEmbedded } from '../../src/postgres/embedded.ts'
import type { Settings } from '../../src/services/context.ts'
import { makeSelfSigned } from '../../src/tls/certificates.ts'
import type { Order } from './load.ts'

export type Connection = postgres.Options<Record<string, never>> & { password: string; port: number; host: string }
export type Postgres = { connection: Connection; pid: () => number; close: () => Promise<void> }
export type Server = { pid: number; ports: { plain: number; tls: number; hello: number }; stop: () => Promise<void> }
export type Load = { order: <T>(order: Order) => Promise<T>; pid: number; stop: () => void }

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** A PostgreSQL of its own with the settings that `serve` gives it, fsync and all. */
export async function startPostgres(): Promise<Postgres> {
  const directory = mkdtempSync(join(tmpdir(), 'rollcall-bench-'))
  const embedded = await openEmbedded({
    dataDirectory: directory,
    listen: '127.0.0.1',
    port: 0,
    use: 'unit',
    certificate: () => makeSelfSigned(['localhost'], Math.floor(Date.now() / 1000)),
    say: () => {},
  })
  return {
    connection: embedded.connection as Connection,
    pid: () => embedded.postmaster().pid,
    close: async () => {
      await embedded.close()
      rmSync(embedded.root, { recursive: true, force: true })
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The compiled server, in its own process, its log thrown away after it was written. */
export async function startServer(connection: Connection, sealing: Buffer, settings: Settings): Promise<Server> {
  const child = spawn(process.execPath, [path('server.mjs')], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { ...process.env, NODE_ENV: 'production' },
  })
  child.stdin.write(`${JSON.stringify({ connection, sealing: sealing.toString('base64'), settings })}\n`)
  const ports = JSON.parse(await firstLine(child)) as Server['ports']
  const stop = async () => {
    const ended = new Promise((done) => child.once('exit', done))
    child.stdin.end()
    await ended
  }
  return { pid: child.pid as number, ports, stop }
}

/** The devices' process. */
export function startLoad(): Load {
  const child = fork(path('load.ts'), { execArgv: ['--import', 'tsx'], serialization: 'advanced' })
  const order = <T>(what: Order) =>
    new Promise<T>((done, fail) => {
      child.once('message', (message: { result: T } | { error: string }) => {
        if ('error' in message) fail(new Error(message.error))
        else done(message.result)
      })
      child.send(what)
    })
  return { order, pid: child.pid as number, stop: () => child.disconnect() }
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((done, fail) => {
    createInterface({ input: child.stdout as Readable }).once('line', done)
    child.once('exit', (code) => fail(new Error(`the server ended with ${code}`)))
  })
}
