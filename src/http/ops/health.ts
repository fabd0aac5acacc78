import { Hono } from 'hono'
import { AppError } from '../../errors.ts'

/** Whether this server can do its work now: false = its schema is not there. Throws what the database throws. */
export type Ready = () => Promise<boolean>

/** `GET|HEAD /healthz`: this process lives. `GET|HEAD /readyz`: it can do its work. Both listeners have them. */
export const healthRoutes = (ready: Ready) =>
  new Hono()
    .get('/healthz', (c) => c.body('ok\n', 200, plain('ok\n')))
    .get('/readyz', async (c) => {
      const reason = await ready().then(
        (migrated) => (migrated ? undefined : new Error('the schema is not migrated')),
        (error: unknown) => error,
      )
      if (reason) throw new AppError('datastore_unavailable', { cause: reason })
      return c.body('ready\n', 200, plain('ready\n'))
    })

// HEAD loses its Content-Length unless it is set.
const plain = (body: string) => ({
  'Content-Type': 'text/plain; charset=utf-8',
  'Content-Length': String(body.length),
  'Cache-Control': 'no-store',
})
