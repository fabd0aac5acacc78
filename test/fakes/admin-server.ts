import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import { clusterInput, openAdminDesk, profileInput, versionInput } from './admin-desk.ts'

// For schemathesis.sh: the whole application on a fresh database, until standard input ends.
const desk = await openAdminDesk()
await desk.call('POST', '/versions', versionInput)
await desk.call('POST', '/clusters', clusterInput('site-a', { api_endpoint: 'https://site-a.test:6443' }))
await desk.call('POST', '/profiles', profileInput('edge-agent'))
await desk.call('POST', '/tokens', { name: 'ci', scope: 'read' })
await desk.call('POST', '/devices', { serial: 'SN-0001', profile: 'edge-agent', cluster: 'site-a' })

// A run that ended its own token would see nothing but 401 from then on.
const own = (await desk.call('GET', '/tokens/admin')).body.id
const fetch = (request: Request, env: object) => {
  const ends = request.method === 'DELETE' && [own, 'admin'].some((name) => request.url.endsWith(`/tokens/${name}`))
  return desk.app.fetch(ends ? new Request(`${request.url}-own`, request) : request, env)
}

const server = serve({ fetch, hostname: '127.0.0.1', port: 0 }, () => {
  const { port } = server.address() as AddressInfo
  console.log(JSON.stringify({ url: `http://127.0.0.1:${port}`, token: desk.tokens.admin }))
})
process.stdin.resume().on('end', async () => {
  server.close()
  await desk.world.end()
  process.exit(0)
})
