import fc from 'fast-check'
import * as assert from 'uvu/assert'
import { importDevices } from '../../src/services/import-devices.ts'
import { Findings } from '../../src/services/import-findings.ts'
import { importPlaces } from '../../src/services/import-places.ts'
import { planImport, planRow } from '../../src/services/plan-import.ts'
import { stageBody } from '../../src/services/stage-import.ts'
import { knownLines } from '../../src/store/import-known.ts'
import { openStage, takeRepeats } from '../../src/store/import-stage.ts'
import { FakeDevice } from '../fakes/device.ts'
import { addCluster, addProfile, makeWorld, type World } from '../fakes/world.ts'
import { suite } from '../suite.ts'

const test = suite('import: lines that say nothing new', { timeout: 120_000 })
let world: World
test.before(async () => {
  world = await makeWorld()
  await addProfile(world, { name: 'edge', role: 'agent' })
  await addProfile(world, { name: 'core', role: 'agent', min_assurance: 'bearer' })
  await addCluster(world, { name: 'site-a' })
  await addCluster(world, { name: 'site-b' })
})
test.after(() => world.end())

const serials = Array.from({ length: 16 }, (_, i) => `S${' /-'[i % 3]}${i}`)
const keys = serials.map((serial) => new FakeDevice(serial))
const identity = (i: number) => {
  const { thumbprint, jwk } = keys[i] as FakeDevice
  return fc.constantFrom({ kind: 'key', thumbprint }, { kind: 'key', jwk })
}
const text = fc.constantFrom('', 'x', "o'clock", 'ü "q"', '{{a}}')
const json = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, 1, 1.5, 1e21, 'x', '1', [], {}),
  fc.array(fc.constantFrom<unknown>(1, 'x', null), { maxLength: 2 }),
  fc.dictionary(fc.constantFrom('p', 'q'), fc.constantFrom<unknown>(1, 2, 'x', [1]), { maxKeys: 2 }),
)
const rest = (i: number) => ({
  hostname: fc.constantFrom(`s-${i}`, `h-${i}`),
  identity: identity(i),
  labels: fc.dictionary(fc.constantFrom('p', 'q'), text, { maxKeys: 2 }),
  vars: fc.dictionary(fc.constantFrom('p', 'q'), json, { maxKeys: 2 }),
  macs: fc.array(fc.constantFrom('00:11:22:33:44:55', '001122334455', '00-11-22-33-44-66'), { maxLength: 2 }),
  uuid: fc.constantFrom('0B8E2AD0-7F43-4A63-9C06-2E2F0D0F0F0F', '1b8e2ad0-7f43-4a63-9c06-2e2f0d0f0f0f'),
  note: text,
})
/** Such as the roll takes, nearly always. */
const good = {
  profile: fc.constantFrom('edge', 'core'),
  cluster: fc.constantFrom('site-a', 'site-b'),
  role: fc.constant('agent'),
  min_assurance: fc.constantFrom('key', 'hardware'),
}
const any = {
  profile: fc.constantFrom('edge', 'core', 'none'),
  cluster: fc.constantFrom('site-a', 'site-b', 'none'),
  role: fc.constantFrom('server', 'agent'),
  min_assurance: fc.constantFrom('bearer', 'key', 'hardware'),
}
const fileOf = (place: typeof good | typeof any) =>
  fc.tuple(
    ...serials.map((serial, i) =>
      fc.record({ serial: fc.constant(serial), ...place, ...rest(i) }, { requiredKeys: ['serial'] }),
    ),
  )
const all = { minLength: serials.length, maxLength: serials.length }

type Given = Record<string, unknown>
const ndjson = (lines: readonly Given[]) => ({
  format: 'ndjson' as const,
  body: (async function* () {
    yield Buffer.from(lines.map((given) => JSON.stringify(given)).join('\n'))
  })(),
})

class Over extends Error {}

/** What Postgres finds the same, and what the rules say of each line that the roll knows. */
async function bothSay(lines: readonly Given[]): Promise<{ same: boolean[]; unchanged: boolean[]; counted: number }> {
  let said: { same: boolean[]; unchanged: boolean[]; counted: number } | undefined
  const run = world.db.transaction(async (tx) => {
    await openStage(tx)
    const found = new Findings()
    const { staged } = await stageBody(tx, world, ndjson(lines), found)
    const repeats = await takeRepeats(tx, 'thumbprint', 10)
    const input = {
      tx,
      actor: { name: 'x' },
      places: importPlaces(tx),
      mayLower: true,
    }
    const counts = await planImport({ ...input, staged: staged - repeats.total }, found)
    const known = await tx.execute<{ same: boolean }>('select same from import_known order by line')
    await tx.execute('update import_known set same = false')
    const rows = await knownLines(tx, { first: 0, last: 1_000 })
    await input.places.learn(rows)
    said = {
      same: known.map((row) => row.same),
      unchanged: rows.map((row) => planRow(row, input).kind === 'unchanged'),
      counted: counts.unchanged,
    }
    throw new Over()
  })
  await run.catch((error) => {
    if (!(error instanceof Over)) throw error
  })
  return said as NonNullable<typeof said>
}

/** All that the roll says of the devices, as lines would give it. */
async function onTheRoll(): Promise<Given[]> {
  const rows = await world.sql`
    select d.serial, p.name as profile, c.name as cluster, d.role, d.hostname, d.min_assurance, d.uuid, d.note, d.labels, d.vars, d.macs,
      case when i.jwk is not null then jsonb_build_object('kind', 'key', 'jwk', i.jwk)
        when i.id is not null then jsonb_build_object('kind', 'key', 'thumbprint', i.thumbprint) end as identity
    from devices d join profiles p on p.id = d.profile_id left join clusters c on c.id = d.cluster_id
    left join identities i on i.device_id = d.id and i.ended_at is null order by d.serial_key`
  return rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null)))
}

const members = [...Object.keys(any), ...Object.keys(rest(0))]
/** Which members an echo of the roll gives, and the one that it takes from elsewhere. */
const echo = fc.record({ given: fc.subarray(members), other: fc.option(fc.constantFrom(...members), { freq: 2 }) })

test('Postgres finds a line the same exactly when the rules leave its device as it was', async () => {
  const actor = { name: 'x' }
  const options = { dryRun: false, partial: true, mayLower: true }
  const sums = { lines: 0, same: 0 }
  await fc.assert(
    fc.asyncProperty(fileOf(good), fileOf(any), fc.array(echo, all), async (first, second, echoes) => {
      await world.sql`truncate devices, identities, events, enrollments cascade`
      const lines = first.map((given) => ({ profile: 'edge', ...given }))
      await importDevices(world, actor, { ...ndjson(lines), ...options })
      const echoed = (await onTheRoll()).map((device, i) => {
        const { given, other } = echoes[i] as (typeof echoes)[0]
        const source = second[serials.indexOf(device.serial as string)] as Given
        const told = given.filter((name) => name in device).map((name) => [name, device[name]])
        const taken = other !== null && other in source ? { [other]: source[other] } : {}
        return { ...Object.fromEntries(told), ...taken, serial: device.serial }
      })
      for (const lines of [second, echoed]) {
        const { same, unchanged, counted } = await bothSay(lines)
        assert.equal(same, unchanged)
        assert.is(counted, same.filter(Boolean).length)
        sums.lines += same.length
        sums.same += counted
      }
    }),
    { numRuns: 20, includeErrorInReport: true, endOnFailure: true },
  )
  assert.ok(sums.same > sums.lines / 10 && sums.same < (sums.lines * 9) / 10, JSON.stringify(sums))
})

test('a variable that gives a part of the old one is not the same: it is replaced whole', async () => {
  const options = { dryRun: false, partial: false, mayLower: true }
  const vars = (...deep: unknown[]) => deep.map((value, i) => ({ serial: `V${i}`, vars: { deep: value, n: 1 } }))
  const lines = vars({ a: 1, b: 2 }, [1, 2], { a: { b: [] } }).map((given) => ({ profile: 'edge', ...given }))
  await importDevices(world, { name: 'x' }, { ...ndjson(lines), ...options })
  const nothing = { same: [false, false, false], unchanged: [false, false, false], counted: 0 }
  assert.equal(await bothSay(vars({ a: 1 }, [1], { a: {} })), nothing)
  const all = { same: [true, true, true], unchanged: [true, true, true], counted: 3 }
  assert.equal(await bothSay(vars({ b: 2, a: 1.0 }, [1, 2], { a: { b: [] } })), all)
})
