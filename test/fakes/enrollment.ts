import { randomBytes } from 'node:crypto'
import { RenderedDocument } from '../../src/documents/rendered.ts'
import { newId } from '../../src/ids.ts'
import { sealDocument } from '../../src/services/sealed-document.ts'
import type { World } from './world.ts'

export type Live = {
  state?: string
  role?: 'server' | 'agent'
  joined?: boolean
  redeemed?: boolean
  sole?: boolean
  /** Text of the document, kept sealed */
  document?: string
}

/** A live enrollment of a device that is on the roll and has a cluster, as an accepted claim leaves it. @returns its id */
export async function addEnrollment(world: World, serial: string, change: Live = {}): Promise<string> {
  const { state = 'enrolled', role = 'agent', joined, redeemed, sole, document = '#cloud-config\n{}\n' } = change
  const id = newId('enr', world.now(), world.random(12))
  const rendered = new RenderedDocument('text/cloud-config', [document])
  const { sealed } = sealDocument(world.vault, id, inputOf(), rendered)
  const now = world.now()
  await world.sql`
    insert into enrollments (id, device_id, cluster_id, profile_id, profile_revision, role, hostname, assurance, claim_hash, created_at,
      document_type, document_digest, document_sealed, join_hash, join_sealed, join_expires_at, report_hash, report_expires_at,
      redeemed_at, joined_at)
    select ${id}, d.id, d.cluster_id, d.profile_id, 1, ${role}, d.hostname, 'key', ${randomBytes(32)}, to_timestamp(${now}),
      'text/cloud-config', 'd1', ${sealed}, ${randomBytes(32)}, ${randomBytes(8)}, to_timestamp(${now + 3600}), ${randomBytes(32)},
      to_timestamp(${now + 86_400}), to_timestamp(${redeemed ? now : null}), to_timestamp(${joined ? now : null})
    from devices d where d.serial = ${serial}`
  await world.sql`
    update devices set state = ${state}, state_since = to_timestamp(${now}), assurance = 'key', version = version + 1,
      sole_server_of = case when ${sole ?? false} then cluster_id end
    where serial = ${serial}`
  return id
}

// What the redactor looks for: the secrets of an input.
function inputOf() {
  return {
    device: { serial: '', hostname: '', labels: {}, vars: {}, note: '' },
    cluster: { name: '', version: '', api_endpoint: '' },
    profile: { name: '', revision: 1, packages: [] },
    role: 'agent' as const,
    vars: {},
    server: { url: '', pins: '', ca: '' },
    k3s: {
      config: '',
      token: 'K10secret',
      files: [],
      install: { env: {}, script_url: '', script_sha256: '', binaries: [] },
    },
    secret: { report_url: 'https://rollcall.test/v1/report/hush', join: '', node: '', node_password: 'sesame' },
  } as never
}
