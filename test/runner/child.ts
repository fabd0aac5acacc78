// One test file in a process of its own: `node child.mjs <file> <milliseconds>`, both of one bundle.
import { writeSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Collected } from '../suite.ts'
import { channel, type Message } from './message.ts'

type UvuRun = () => Promise<[errors: string | true, passed: number, skipped: number, total: number]>
const uvu = globalThis as unknown as { UVU_DEFER: number; UVU_INDEX: number; UVU_QUEUE: (string | UvuRun | null)[][] }

/** The file, and the milliseconds after which a process that is done with its tests says what keeps it alive. */
const [file = '', handlesAfter] = process.argv.slice(2)

const tell = (message: Message) => writeSync(channel, `${JSON.stringify(message)}\n`)

// Before uvu is loaded, or it would start the suites itself.
const queue: (string | UvuRun | null)[] = []
Object.assign(uvu, { UVU_DEFER: 1, UVU_INDEX: 0, UVU_QUEUE: [queue] })
const { collected, observe } = await import('../suite.ts')

async function main(): Promise<void> {
  await import(pathToFileURL(resolve(file)).href)
  const total = { passed: 0, failed: 0, skipped: 0, only: 0 }
  if (queue.length > 0) {
    total.failed++
    console.log("uvu's own suite is used here: import { suite } from test/suite.ts, whose tests cannot be forgotten")
  }
  for (const one of collected) await runSuite(one, total)
  tell({ kind: 'end', ...total })
}

async function runSuite(one: Collected, total: Totals): Promise<void> {
  let passed = 0
  let hooks = 0
  observe((event) => {
    if (event.kind === 'start') tell(event)
    if (event.kind === 'passed') passed++
    if (event.kind === 'hook-failed') {
      hooks++
      console.log(`\n  FAIL  ${event.title}\n    ${text(event.error)}\n`)
    }
  })
  queue.length = 0
  one.run()
  try {
    const [errors] = await (queue[0] as UvuRun)()
    if (errors !== true) console.log(`\n${errors}`)
  } catch (error) {
    if (hooks === 0) throw error
  }
  const missing = (one.only || one.tests) - passed
  total.passed += passed
  total.failed += missing > 0 ? missing : Math.min(hooks, 1)
  total.skipped += one.skipped + (one.only ? one.tests : 0)
  total.only += one.only
}

type Totals = { passed: number; failed: number; skipped: number; only: number }

const text = (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error))

await main()
setTimeout(() => tell({ kind: 'open', handles: process.getActiveResourcesInfo() }), Number(handlesAfter)).unref()
