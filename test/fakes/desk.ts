import type { OpenAPIHono } from '@hono/zod-openapi'
import { createApp } from '../../src/app.ts'
import { type Operations, operationsOf } from '../../src/operations.ts'
import { type TaskPolls, taskPolls } from '../../src/services/poll-tasks.ts'
import type { FakeDevice } from './device.ts'
import { makeWorld, type World } from './world.ts'

/** The whole application on a real database, called without a socket. */
export type Desk = {
  world: World
  app: OpenAPIHono
  polls: TaskPolls
  operations: Operations
  nonce: () => Promise<string>
  claim: (claim: string, headers?: Record<string, string>) => Promise<Response>
  /** Challenge and claim of a device; its answer. */
  enrol: (device: FakeDevice) => Promise<Response>
  redeem: (ticket: string, proof?: string) => Promise<Response>
  report: (token: string, body: unknown) => Promise<Response>
}

/** @param world a managed one, for clusters on it */
export async function openDesk(world?: World): Promise<Desk> {
  return deskOf(world ?? (await makeWorld()))
}

function deskOf(world: World): Desk {
  const polls = taskPolls(world)
  world.wake = polls.wake
  const operations = operationsOf(world)
  const app = createApp(world, operations, polls)
  const post = (path: string, body: string | null, headers: Record<string, string>) =>
    Promise.resolve(app.request(path, { method: 'POST', headers, ...(body === null ? {} : { body }) }))
  const nonce = async () => (await app.request('/v1/challenge')).headers.get('rollcall-nonce') as string
  const claim = (text: string, headers: Record<string, string> = {}) =>
    post('/v1/claim', text, { 'content-type': 'application/jose', ...headers })
  return {
    world,
    app,
    polls,
    operations,
    nonce,
    claim,
    enrol: async (device) => claim(device.claim(await nonce())),
    redeem: (ticket, proof) =>
      post('/v1/join', proof ?? null, {
        authorization: `Bearer ${ticket}`,
        ...(proof ? { 'content-type': 'application/jose' } : {}),
      }),
    report: (token, body) => post(`/v1/report/${token}`, typeof body === 'string' ? body : JSON.stringify(body), {}),
  }
}

/** The problem of a refusal. */
export async function problemOf(
  answer: Response,
): Promise<{ status: number; code: string; detail?: string; errors?: unknown }> {
  return (await answer.json()) as never
}
