import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import { FakeDevice } from '../fakes/device.ts'
import { suite } from '../suite.ts'
import { type HttpAnswer, Serving } from './serving.ts'

const test = suite('killed in the middle of enrolments', { timeout: 1_200_000 })

const rounds = Number(process.env.ROLLCALL_KILLS ?? 100)
const boxesPerRound = 8
const serving = new Serving()

test.before(async () => {
  await serving.start()
  await serving.admin('POST', '/api/v1/clusters', {
    name: 'site-a',
    version: 'v1.36.3+k3s1',
    allow_unpinned: true,
    ca_hash: 'ab'.repeat(32),
    datastore: { kind: 'postgres', endpoint: 'postgres://k3s:pw@db.test:5432/k3s' },
  })
  const profile = { name: 'edge', document: 'cloud-init', role: 'server', template: 'builtin:debian' }
  assert.is((await serving.admin('POST', '/api/v1/profiles', profile)).status, 201)
})
test.after(() => serving.end())

const nonce = async () =>
  (await untilAnswered(() => serving.send('GET', '/v1/challenge'))).headers['rollcall-nonce'] as string
const send = (claim: string) => serving.send('POST', '/v1/claim', claim, { 'content-type': 'application/jose' })

/** As client.sh does: a lost answer and a 503 are asked again. */
async function untilAnswered(ask: () => Promise<HttpAnswer>): Promise<HttpAnswer> {
  for (let i = 0; i < 600; i++) {
    const answer = await ask().catch(() => undefined)
    if (answer && answer.status !== 503) return answer
    await sleep(100)
  }
  throw new Error('no answer for a minute')
}

async function register(round: number): Promise<FakeDevice[]> {
  const boxes = Array.from({ length: boxesPerRound }, (_, i) => new FakeDevice(`KILL-${round}-${i}`))
  const lines = boxes.map(({ serial, jwk }) =>
    JSON.stringify({ serial, profile: 'edge', cluster: 'site-a', identity: { kind: 'key', jwk } }),
  )
  const imported = await untilAnswered(() =>
    serving.admin('POST', '/api/v1/devices/import', lines.join('\n'), 'application/x-ndjson'),
  )
  assert.is(imported.status, 200, imported.body)
  return boxes
}

/** Kills the server, one of PostgreSQL's backends (which restarts them all), or PostgreSQL itself. */
async function strike(round: number): Promise<void> {
  if (round % 2 === 0) {
    await serving.kill()
    await serving.start()
  } else if (round % 10 === 5) {
    process.kill(serving.postmaster(), 'SIGKILL')
  } else {
    const [backend] = serving.backends()
    if (backend) process.kill(backend, 'SIGKILL')
  }
}

/** One enrolment and one answer, whatever became of the first one. @returns whether that one had come through */
async function holds(box: FakeDevice, claim: string, first: HttpAnswer | undefined): Promise<boolean> {
  const retried = await untilAnswered(() => send(claim))
  assert.is(retried.status, 200, `${box.serial}: ${retried.body}`)
  const answered = first?.status === 200
  if (answered) assert.is(retried.body, first.body)
  const timeline = await untilAnswered(() => serving.admin('GET', `/api/v1/devices/${box.serial}/timeline`))
  const enrolled = JSON.parse(timeline.body).items.filter((event: { name: string }) => event.name === 'enrolled')
  assert.is(enrolled.length, 1)
  return answered
}

test(`gives each box exactly one enrolment, and its retry the same answer, ${rounds} times`, async () => {
  let lost = 0
  for (let round = 0; round < rounds; round++) {
    const boxes = await register(round)
    const claims = await Promise.all(boxes.map(async (box) => box.claim(await nonce(), { aud: serving.origin })))
    const first = claims.map((claim) => send(claim).catch(() => undefined))
    await sleep(Math.random() * 30)
    await strike(round)
    const answers = await Promise.all(first)
    const kept = await Promise.all(claims.map((claim, i) => holds(boxes[i] as FakeDevice, claim, answers[i])))
    lost += kept.filter((answered) => !answered).length
  }
  assert.ok(lost > 0, 'no answer was ever lost: nothing was shown')
})
