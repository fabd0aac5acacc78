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

const keys = [new FakeDevice('a'), new FakeDevice('b'), new FakeDevice('c')]
const identity = fc.constantFrom(
  ...keys.flatMap(({ thumbprint, jwk }) => [
    { kind: 'key', thumbprint },
    { kind: 'key', jwk },
  ]),
)
const text = fc.constantFrom('', 'x', "o'clock", 'ü "q"', '{{a}}')
const json = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, 1, 1.5, 1e21, 'x', '1', [], {}),
  fc.array(fc.constantFrom<unknown>(1, 'x', null), { maxLength: 2 }),
  fc.dictionary(fc.constantFrom('p', 'q'), fc.constantFrom<unknown>(1, 2, 'x', [1]), { maxKeys: 2 }),
)
const places = {
  profile: fc.constantFrom('edge', 'core', 'none'),
  cluster: fc.constantFrom('site-a', 'site-b', 'none'),
  role: fc.constantFrom('server', 'agent'),
  min_assurance: fc.constantFrom('bearer', 'key', 'hardware'),
}
const rest = {
  hostname: fc.constantFrom('h-1', 'h-2', 's-1', 's-2'),
  identity,
  labels: fc.dictionary(fc.constantFrom('p', 'q'), text, { maxKeys: 2 }),
  vars: fc.dictionary(fc.constantFrom('p', 'q'), json, { maxKeys: 2 }),
  macs: fc.array(fc.constantFrom('00:11:22:33:44:55', '001122334455', '00-11-22-33-44-66'), { maxLength: 2 }),
  uuid: fc.constantFrom('0B8E2AD0-7F43-4A63-9C06-2E2F0D0F0F0F', '0b8e2ad0-7f43-4a63-9c06-2e2f0d0f0f0f'),
  note: text,
}
const serials = ['S 1', 's/2', 'S-3'] as const
const line = (serial: string) =>
  fc.record({ serial: fc.constant(serial), ...places, ...rest }, { requiredKeys: ['serial'] })
const file = fc.tuple(...serials.map(line))

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

test('Postgres finds a line the same exactly when the rules leave its device as it was', async () => {
  const actor = { name: 'x' }
  const options = { dryRun: false, partial: true, mayLower: true }
  let both = 0
  await fc.assert(
    fc.asyncProperty(file, file, async (first, second) => {
      await importDevices(world, actor, {
        ...ndjson(first.map((given) => ({ profile: 'edge', ...given }))),
        ...options,
      })
      for (const lines of [second, first, first.map(({ serial, note, vars }) => ({ serial, note, vars }))]) {
        const { same, unchanged, counted } = await bothSay(lines)
        assert.equal(same, unchanged)
        assert.is(counted, same.filter(Boolean).length)
        both += counted
      }
    }),
    { numRuns: 60, includeErrorInReport: true },
  )
  assert.ok(both > 60, `only ${both} lines were the same`)
})
