import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Case, type Result, runCases } from '../lab/case.ts'
import { Lab } from '../lab/lab.ts'
import { sysctls } from '../lab/sysctls.ts'
import { agentCases } from './cases/agents.ts'
import { etcdCases } from './cases/etcd.ts'
import { externalCases } from './cases/external.ts'
import { crashCases, faultCases } from './cases/faults.ts'
import { fleetCases } from './cases/fleet.ts'
import { managedCases } from './cases/managed.ts'
import { serverCases } from './cases/servers.ts'
import { singleCases } from './cases/single.ts'
import { takeoverCases } from './cases/takeover.ts'
import { makeWorld } from './world.ts'

const cache = process.env.ROLLCALL_LAB_CACHE ?? '/var/cache/rollcall-lab'
const artefacts = process.env.ROLLCALL_LAB_ARTEFACTS ?? join(tmpdir(), 'rollcall-clusters-failed')
const words = process.argv.slice(2)

const start = performance.now()
const before = await sysctls()
const lab = await Lab.open(await mkdtemp('/var/tmp/rollcall-clusters-'), cache)
const world = await makeWorld(lab)
console.log(`clusters: ready after ${seconds(start)}`)

// The longest ones first: at the end nobody waits for one of them alone.
const all: Case[] = [
  ...agentCases(world),
  ...serverCases(world),
  ...externalCases(world),
  ...managedCases(world),
  ...etcdCases(world),
  ...takeoverCases(world),
  ...faultCases(world),
  ...singleCases(world),
]
const isChosen = ({ name }: Case) => words.length === 0 || words.some((word) => name.includes(word))
const atOnce = Number(process.env.ROLLCALL_CLUSTERS_AT_ONCE ?? 3)
const results = [
  ...(await runCases(all.filter(isChosen), atOnce, report)),
  // One takes the database from everybody, the other measures: nothing beside them.
  ...(await runCases([...crashCases(world), ...fleetCases(world)].filter(isChosen), 1, report)),
]

await world.server.stop()
world.releases.close()
lab.close()
await rm(artefacts, { recursive: true, force: true })
const failed = results.filter(({ error }) => error)
const kept = process.env.ROLLCALL_LAB_KEEP ? results : failed
for (const { name, files } of kept)
  await lab.keep([...files, world.server.log], join(artefacts, name.replace(/[^a-z0-9.]+/gi, '-').slice(0, 80)))
if (kept.length > 0) console.log(`consoles and logs: ${artefacts}`)

const changed = (await sysctls()).filter((line) => !before.includes(line))
if (changed.length > 0) console.log(`FAIL the machine's sysctls changed:\n${changed.join('\n')}`)
const failures = failed.length + (changed.length > 0 ? 1 : 0)
console.log(
  `clusters: ${seconds(start)}\n${results.length - failed.length + (changed.length > 0 ? 0 : 1)} passed, ${failures} failed`,
)
process.exit(failures > 0 ? 1 : 0)

function report({ name, seconds, error }: Result): void {
  console.log(`${error ? 'FAIL' : 'ok  '} ${seconds.toFixed(1).padStart(5)} s  ${name}`)
  if (error) console.log((error as Error).stack ?? error)
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`
}
