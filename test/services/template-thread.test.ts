import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { ProfileSpec } from '../../src/documents/profile.ts'
import { TemplateThread } from '../../src/services/template-thread.ts'
import { suite } from '../suite.ts'

const test = suite('the thread that tries templates', { timeout: 120_000 })

const limits = { time: 60_000, memory: 128, queue: 16, idle: 60_000 }
const specOf = (source: string) =>
  ProfileSpec.parse({ name: 'edge', document: 'cloud-init', role: 'agent', template: { source }, vars: {} })
const good = specOf('#cloud-config\nhostname: {{yaml device.hostname}}\n')
const lint = (thread: TemplateThread, spec = good) => thread.run({ kind: 'lint', spec })
const isLinted = (outcome: object) => 'problems' in outcome

test('ends a template that takes too long, says so as of any that cannot be used, and tries the next one', async () => {
  const hasty = new TemplateThread({ ...limits, time: 0 })
  const reasons = [{ code: 'too_complex', message: 'takes longer than 0 s' }]
  assert.equal(await lint(hasty), { reasons })
  assert.equal(await lint(hasty), { reasons })
})

test('survives a thread that runs out of memory, and says so', async () => {
  // What the engine's budgets let through needs less than 16 MB: this is too little for the engine itself.
  const small = new TemplateThread({ ...limits, memory: 4 })
  const reasons = [{ code: 'too_complex', message: 'takes more than 4 MB of memory' }]
  assert.equal(await lint(small), { reasons })
  assert.equal(await lint(small), { reasons })
})

test('is busy when too many wait, and tries those that wait in their order', async () => {
  const thread = new TemplateThread({ ...limits, queue: 2 })
  const answers = await Promise.all(
    Array.from({ length: 5 }, (_, i) =>
      lint(thread).then(
        (outcome) => [i, isLinted(outcome)],
        (error) => [i, error.code],
      ),
    ),
  )
  assert.equal(answers, [
    [0, true],
    [1, true],
    [2, true],
    [3, 'busy'],
    [4, 'busy'],
  ])
})

test('leaves this thread free meanwhile', async () => {
  const thread = new TemplateThread(limits)
  const large = specOf(`#cloud-config\nruncmd:\n${'- [a, b, c, d]\n'.repeat(4_000)}`)
  await lint(thread)
  let turns = 0
  const turning = setInterval(() => turns++, 1)
  const outcome = await lint(thread, large)
  clearInterval(turning)
  assert.ok(isLinted(outcome))
  assert.ok(turns > 0)
})

test('ends when nothing is asked of it for a while, and begins again', async () => {
  const thread = new TemplateThread({ ...limits, idle: 10 })
  assert.ok(isLinted(await lint(thread)))
  await sleep(100)
  assert.ok(isLinted(await lint(thread)))
})
