import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serveArtifacts } from './artifacts.ts'
import { type Case, type Result, runCases } from './case.ts'
import { cutCases } from './cases/cut.ts'
import { firstBootCases } from './cases/first-boot.ts'
import { goldenCases } from './cases/golden.ts'
import { ignitionCases } from './cases/ignition.ts'
import { troubleCases } from './cases/trouble.ts'
import { seededImages } from './images.ts'
import { Lab } from './lab.ts'
import { fillRoll } from './roll.ts'
import { Server } from './server.ts'
import { sysctls } from './sysctls.ts'

const cache = process.env.ROLLCALL_LAB_CACHE ?? '/var/cache/rollcall-lab'
const artefacts = process.env.ROLLCALL_LAB_ARTEFACTS ?? join(tmpdir(), 'rollcall-lab-failed')
const words = process.argv.slice(2)

const start = performance.now()
const before = await sysctls()
const dir = await mkdtemp('/var/tmp/rollcall-lab-')
const lab = await Lab.open(dir, cache)
const artifacts = await serveArtifacts()
const server = await Server.start(lab, artifacts)
await fillRoll(server, artifacts)
const world = { lab, server, artifacts, cache, images: await seededImages(lab, server, artifacts) }
console.log(`lab: ready after ${seconds(start)}`)

const all: Case[] = [
  ...goldenCases(world),
  ...firstBootCases(world),
  ...troubleCases(world),
  ...ignitionCases(world),
  ...cutCases(world),
]
const chosen = all.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
const results = await runCases(chosen, 4, report)

await server.stop()
lab.close()
await rm(artefacts, { recursive: true, force: true })
const failed = results.filter(({ error }) => error)
const kept = process.env.ROLLCALL_LAB_KEEP ? results : failed
for (const { name, files } of kept)
  await lab.keep([...files, server.log], join(artefacts, name.replace(/[^a-z0-9.]+/gi, '-')))
if (kept.length > 0) console.log(`consoles and logs: ${artefacts}`)

const changed = (await sysctls()).filter((line) => !before.includes(line))
if (changed.length > 0) console.log(`FAIL the machine's sysctls changed:\n${changed.join('\n')}`)
const failures = failed.length + (changed.length > 0 ? 1 : 0)
console.log(
  `lab: ${seconds(start)}\n${results.length - failed.length + (changed.length > 0 ? 0 : 1)} passed, ${failures} failed`,
)
process.exit(failures > 0 ? 1 : 0)

function report({ name, seconds, error }: Result): void {
  console.log(`${error ? 'FAIL' : 'ok  '} ${seconds.toFixed(1).padStart(5)} s  ${name}`)
  if (error) console.log((error as Error).stack ?? error)
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`
}
