import { Hono } from 'hono'
import { adminRoutes } from '../../src/http/admin/routes.ts'
import { notFound, onError } from '../../src/http/problem.ts'
import { requestId } from '../../src/http/request-id.ts'
import type { Scope } from '../../src/services/admin-token.ts'
import { createToken } from '../../src/services/create-token.ts'
import { makeManagedWorld, makeWorld, type World } from './world.ts'

type Options = { as?: Scope | 'nobody' | { token: string }; headers?: Record<string, string> }

/** An answer, read whole. */
export type Answer = {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  body: any
}

/** The admin API on a real database, called without a socket, with a token of each scope. */
export type AdminDesk = {
  world: World
  app: Hono
  tokens: Record<Scope, string>
  call: (method: string, path: string, body?: unknown, options?: Options) => Promise<Answer>
}

export type DeskOptions = {
  /** With a managed datastore on the tests' PostgreSQL */
  managed?: boolean | { address?: string; ca?: string }
}

export async function openAdminDesk({ managed = false }: DeskOptions = {}): Promise<AdminDesk> {
  const world: World = managed ? await makeManagedWorld(managed === true ? {} : managed) : await makeWorld()
  const app = new Hono()
  app.use(requestId())
  app.onError(onError(world.log))
  app.route('/', adminRoutes(world))
  app.notFound(notFound(app))
  const make = async (scope: Scope) => (await createToken(world, { name: 'test' }, { name: scope, scope })).body.token
  const tokens = { read: await make('read'), write: await make('write'), admin: await make('admin') }
  const call: AdminDesk['call'] = async (method, path, body, { as = 'admin', headers = {} } = {}) => {
    const all = new Headers(headers)
    if (as !== 'nobody') all.set('authorization', `Bearer ${typeof as === 'string' ? tokens[as] : as.token}`)
    if (body !== undefined && !all.has('content-type')) all.set('content-type', 'application/json')
    const init: RequestInit = { method, headers: all }
    if (body !== undefined) init.body = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await app.request(path.startsWith('/api') ? path : `/api/v1${path}`, init)
    const text = await answer.text()
    const json = (answer.headers.get('content-type') ?? '').includes('json')
    return { status: answer.status, headers: answer.headers, text, body: json ? JSON.parse(text) : undefined }
  }
  return { world, app, tokens, call }
}

export const k3sVersion = 'v1.36.3+k3s1'

/** A version with recorded hashes. */
export const versionInput = {
  version: k3sVersion,
  artifacts: { amd64: { sha256: 'a1'.repeat(32) } },
  install_script: { sha256: 'b2'.repeat(32) },
}

export const clusterInput = (name: string, change: Record<string, unknown> = {}) => ({
  name,
  version: k3sVersion,
  allow_unpinned: true,
  datastore: { kind: 'sqlite' },
  ...change,
})

export const profileInput = (name: string, change: Record<string, unknown> = {}) => ({
  name,
  document: 'cloud-init',
  role: 'agent',
  template: 'builtin:debian',
  vars: {},
  ...change,
})
