import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { Artifacts } from './artifacts.ts'
import type { Box } from './box.ts'
import { until } from './case.ts'
import { command } from './command.ts'
import type { Server } from './server.ts'

export const version = 'v1.36.3+k3s1'
/** Of the CA that stand-in/k3s has. */
export const caHash = createHash('sha256')
  .update('-----BEGIN CERTIFICATE-----\nbGFi\n-----END CERTIFICATE-----\n')
  .digest('hex')
export const apiEndpoint = 'https://k3s.lab.example:6443'

/** The device client as the repository has it. */
export const client = fileURLToPath(new URL('../../templates/client.sh', import.meta.url))

export type Role = 'server' | 'agent'
export type Device = {
  serial: string
  state: string
  hostname: string
  last_enrollment: { id: string; last_step: string | null; last_result: string | null; last_detail: unknown } | null
}
export type Event = { source: string; name: string; result: string | null; detail: unknown }

/** Puts on record what every box of the lab needs: a K3s version, a cluster, a profile a role and document. */
export async function fillRoll(server: Server, artifacts: Artifacts): Promise<void> {
  const sha256 = artifacts.binarySha256
  await server.ask('POST', '/versions', {
    version,
    artifacts: { amd64: { sha256 }, arm64: { sha256 } },
    install_script: { sha256: artifacts.scriptSha256 },
  })
  await server.ask('POST', '/clusters', {
    name: 'lab',
    version,
    api_endpoint: apiEndpoint,
    ca_hash: caHash,
    datastore: { kind: 'postgres', endpoint: 'postgres://k3s:n1%25pw@db.lab.example:5432/k3s?sslmode=verify-full' },
    tls_sans: ['extra.lab.example'],
  })
  // Its hashes are of something else than what the mirror serves.
  const other = { version: 'v1.36.4+k3s1', artifact: { sha256: '0'.repeat(64) } }
  await server.ask('POST', '/versions', {
    version: other.version,
    artifacts: { amd64: other.artifact, arm64: other.artifact },
    install_script: { sha256: artifacts.scriptSha256 },
  })
  await server.ask('POST', '/clusters', { name: 'tampered', version: other.version, datastore: { kind: 'sqlite' } })
  for (const role of ['server', 'agent'] as const) {
    const profile = (name: string, document: string, template: string, more = {}) =>
      server.ask('POST', '/profiles', { name, document, role, template: `builtin:${template}`, vars: {}, ...more })
    await profile(role, 'cloud-init', 'debian')
    await profile(`fcos-${role}`, 'ignition', 'fcos')
    await profile(`flatcar-${role}`, 'ignition', 'flatcar')
    if (role === 'server') await profile('fcos-brief', 'ignition', 'fcos', { join_ttl: 300 })
  }
}

/** Where the client finds the box when it runs outside, on its behalf. */
export const asBox = (box: Box): NodeJS.ProcessEnv => ({
  ROLLCALL_STATE: box.path('var/lib/rollcall'),
  ROLLCALL_RUN: `${box.dir}/client`,
  ROLLCALL_DMI: box.firmware,
  ROLLCALL_NET: `${box.dir}/class/net`,
  ROLLCALL_ENV: '/dev/null',
  ROLLCALL_CONSOLE: '',
})

/** What the maker of a box does: has it make its key, and passes on the line that it prints. */
export async function identify(box: Box): Promise<Record<string, unknown>> {
  const { stdout } = await command('sh', [client, 'identity'], asBox(box))
  return JSON.parse(stdout) as Record<string, unknown>
}

/** What an admin does: puts the box on the roll. */
export async function register(server: Server, box: Box, profile: string, cluster = 'lab'): Promise<void> {
  await server.ask('POST', '/devices', { ...(await identify(box)), profile, cluster })
}

/** What an admin does who was read a line from a box's console. */
export async function importLine(server: Server, line: string, profile: string): Promise<void> {
  const body = JSON.stringify({ ...(JSON.parse(line) as object), profile, cluster: 'lab' })
  const answer = await server.call('POST', '/devices/import', body, 'application/x-ndjson')
  if (answer.status !== 200) throw new Error(`import: ${answer.status} ${JSON.stringify(answer.body)}`)
}

export const device = (server: Server, box: Box): Promise<Device> =>
  server.ask<Device>('GET', `/devices/${encodeURIComponent(box.serial)}`)

export async function timeline(server: Server, box: Box): Promise<Event[]> {
  const { items } = await server.ask<{ items: Event[] }>(
    'GET',
    `/devices/${encodeURIComponent(box.serial)}/timeline?limit=500`,
  )
  return items
}

// A server's cluster may show its Node before the box has told its last step.
const hasToldAll = ({ last_enrollment: last }: Device) => last?.last_step === 'k3s.ready' && last.last_result === 'ok'

/** Waits until the roll shows the box in `state`; says where it stands instead when it does not come. */
export async function reaches(server: Server, box: Box, state: string): Promise<Device> {
  let last: Device | undefined
  try {
    return await until(
      `${box.serial} is ${state}`,
      async () => {
        last = await device(server, box)
        return last.state === state && (state !== 'ready' || hasToldAll(last)) ? last : undefined
      },
      { every: 200 },
    )
  } catch (error) {
    throw new Error(`${(error as Error).message}; it is ${JSON.stringify(last)}`)
  }
}
