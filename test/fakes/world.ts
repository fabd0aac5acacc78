import { randomBytes } from 'node:crypto'
import pino from 'pino'
import type { ManagedDatastore } from '../../src/datastore/managed.ts'
import { openManaged } from '../../src/datastore/open.ts'
import { ProfileSpec } from '../../src/documents/profile.ts'
import { newId } from '../../src/ids.ts'
import type { Datastore } from '../../src/k3s/cluster.ts'
import type { Context } from '../../src/services/context.ts'
import { nodes } from '../../src/store/cluster-schema.ts'
import { openDatabase } from '../../src/store/database.ts'
import { clusters, profileRevisions, profiles } from '../../src/store/declared-schema.ts'
import { devices, enrollments, identities } from '../../src/store/schema.ts'
import { type TestDatabase, testAuthority, testDatabase } from '../postgres.ts'
import type { FakeDevice } from './device.ts'
import { fakeVault } from './vault.ts'

/** A context on a real, fresh database, with a clock that tests set. */
export type World = Context & { clock: { now: number }; end: () => Promise<void>; url: string }

/** @param given a migrated database; a fresh one on the shared server if not given */
export async function makeWorld(given?: TestDatabase): Promise<World> {
  const database = given ?? (await testDatabase())
  const clock = { now: 1_795_396_247 }
  const opened = openDatabase(database.url, { pool: 4 })
  return {
    ...opened,
    clock,
    vault: fakeVault,
    keys: { nonce: new Uint8Array(32).fill(7), nodePassword: new Uint8Array(32).fill(8) },
    settings: {
      publicUrl: 'https://rollcall.test',
      publicUrlGuessed: false,
      audiences: ['https://rollcall.test'],
      pins: 'sha256//AAAA;sha256//BBBB',
      ca: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
      k3s: { installScriptUrl: 'https://get.k3s.test', artifactUrl: 'https://artifacts.test' },
    },
    log: pino({ level: 'silent' }),
    now: () => clock.now,
    random: (n) => randomBytes(n),
    end: async () => {
      await opened.close()
      await database.close()
    },
    url: database.url,
  }
}

/** The same, with a managed datastore on the same server, which all tests share: ids keep their clusters apart. */
export async function makeManagedWorld(
  change: { address?: string; ca?: string; database?: TestDatabase } = {},
): Promise<World & { managed: ManagedDatastore }> {
  const world = await makeWorld(change.database)
  const { port } = new URL(world.url)
  const { address = `localhost:${port}`, ca = await testAuthority() } = change
  const server = { url: world.url, connection: {} }
  const managed = openManaged({ server, address, ca, key: world.keys.nodePassword, rollConnections: 6 })
  const end = async () => {
    await managed.close()
    await world.end()
  }
  return { ...world, managed, end }
}

const caHash = 'ab'.repeat(32)

export async function addProfile(world: World, spec: Partial<ProfileSpec> = {}): Promise<string> {
  const id = newId('prf', world.now(), world.random(12))
  const at = new Date(world.now() * 1000)
  const whole = ProfileSpec.parse({
    name: 'edge',
    document: 'cloud-init',
    role: 'server',
    template: 'builtin:debian',
    ...spec,
  })
  await world.db.insert(profiles).values({ id, name: whole.name, revision: 1, createdAt: at, updatedAt: at })
  await world.db
    .insert(profileRevisions)
    .values({ profileId: id, revision: 1, spec: whole, createdAt: at, createdBy: 'test' })
  return id
}

type ClusterChange = Partial<typeof clusters.$inferInsert> & { datastore?: Datastore }

export async function addCluster(world: World, { datastore = { kind: 'sqlite' }, ...change }: ClusterChange = {}) {
  const id = newId('clu', world.now(), world.random(12))
  const at = new Date(world.now() * 1000)
  await world.db.insert(clusters).values({
    id,
    name: 'site-a',
    k3sVersion: 'v1.36.3+k3s1',
    apiEndpoint: 'https://k3s.site-a.test:6443',
    caHash,
    state: 'up',
    allowUnpinned: true,
    datastoreKind: datastore.kind,
    datastoreSealed: world.vault.seal(`clusters/${id}/datastore`, JSON.stringify(datastore)),
    serverTokenSealed: world.vault.seal(`clusters/${id}/server_token`, 'f0'.repeat(32)),
    createdAt: at,
    updatedAt: at,
    ...change,
  })
  return id
}

type DeviceChange = Partial<typeof devices.$inferInsert> & { thumbprintOnly?: boolean }

/** Puts a device with its pinned key on the roll. */
export async function addDevice(
  world: World,
  device: FakeDevice,
  where: { profile: string; cluster?: string },
  change: DeviceChange = {},
) {
  const { thumbprintOnly, ...columns } = change
  const id = newId('dev', world.now(), world.random(12))
  const at = new Date(world.now() * 1000)
  await world.db.insert(devices).values({
    id,
    serial: device.serial,
    serialKey: device.serial.toLowerCase(),
    profileId: where.profile,
    clusterId: where.cluster ?? null,
    hostname: where.cluster ? device.serial.toLowerCase() : null,
    stateSince: at,
    createdAt: at,
    updatedAt: at,
    ...columns,
  })
  const jwk = thumbprintOnly ? null : device.jwk
  await world.db.insert(identities).values({ deviceId: id, thumbprint: device.thumbprint, jwk, createdAt: at })
  return id
}

/** A live enrollment, as a claim would have left it. */
export async function addEnrollment(
  world: World,
  { deviceId, clusterId, profileId, role, hostname, ...change }: EnrollmentChange,
): Promise<string> {
  const id = newId('enr', world.now(), world.random(12))
  const at = new Date(world.now() * 1000)
  await world.db.insert(enrollments).values({
    id,
    deviceId,
    clusterId,
    profileId,
    profileRevision: 1,
    role,
    hostname,
    assurance: 'key',
    claimHash: world.random(32),
    createdAt: at,
    documentType: 'text/cloud-config',
    documentDigest: '0'.repeat(64),
    joinHash: world.random(32),
    joinExpiresAt: at,
    reportHash: world.random(32),
    reportExpiresAt: at,
    ...change,
  })
  return id
}
type EnrollmentChange = Pick<
  typeof enrollments.$inferInsert,
  'deviceId' | 'clusterId' | 'profileId' | 'role' | 'hostname'
> &
  Partial<typeof enrollments.$inferInsert>

/** A Node as its cluster shows it; without an enrollment it is a stranger. */
export async function addNode(
  world: World,
  clusterId: string,
  node: Partial<typeof nodes.$inferInsert> & { name: string },
): Promise<void> {
  const at = new Date(world.now() * 1000)
  await world.db
    .insert(nodes)
    .values({ clusterId, source: 'datastore', ready: true, readySince: at, firstSeenAt: at, seenAt: at, ...node })
}
