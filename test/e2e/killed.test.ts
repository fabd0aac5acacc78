import { setTimeout as sleep } from 'node:timers/promises'
import postgres, { type Sql } from 'postgres'
import * as assert from 'uvu/assert'
import { openOwnPostgres } from '../../src/cli/open-store.ts'
import { loadConfig } from '../../src/config.ts'
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
    api_endpoint: 'https://k3s.site-a.test:6443',
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

/** Half of them agents: their join tokens' tasks are written by the statement that is killed. */
const roleOf = (i: number) => (i % 2 === 0 ? 'server' : 'agent')

async function register(round: number): Promise<FakeDevice[]> {
  const boxes = Array.from({ length: boxesPerRound }, (_, i) => new FakeDevice(`KILL-${round}-${i}`))
  const lines = boxes.map(({ serial, jwk }, i) =>
    JSON.stringify({ serial, role: roleOf(i), profile: 'edge', cluster: 'site-a', identity: { kind: 'key', jwk } }),
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

/** Asks the database itself. */
async function look<T>(use: (sql: Sql) => Promise<T>): Promise<T> {
  const config = loadConfig({ flags: { 'data-dir': serving.data }, env: {}, root: process.getuid?.() === 0 })
  const embedded = await openOwnPostgres(config, 'guest', () => {})
  const sql = postgres({ ...embedded.connection, max: 1 })
  try {
    return await use(sql)
  } finally {
    await sql.end({ timeout: 5 })
    await embedded.close()
  }
}

/** One answer, whatever became of the first one. @returns whether that one had come through */
async function answers(box: FakeDevice, claim: string, first: HttpAnswer | undefined): Promise<boolean> {
  const retried = await untilAnswered(() => send(claim))
  assert.is(retried.status, 200, `${box.serial}: ${retried.body}`)
  const answered = first?.status === 200
  if (answered) assert.is(retried.body, first.body)
  return answered
}

/** What one accepted claim of a box leaves: one of each, and all that a role has. */
const whole = (serial: string, role: string) => ({
  serial,
  state: 'enrolled',
  enrollments: 1,
  live: 1,
  role,
  sealed: true,
  nonces: 1,
  enrolled: 1,
  audited: 1,
  tokens: role === 'agent' ? 1 : 0,
  node: role === 'server',
})

/** Every trace of a round's boxes, by box. Looked at each round: nonces are swept after a quarter of an hour. */
const traces = (round: number) =>
  look(
    (sql) => sql`
      select d.serial, d.state,
        (select count(*)::int from enrollments e where e.device_id = d.id) as enrollments,
        (select count(*)::int from enrollments e where e.device_id = d.id and e.ended_at is null) as live,
        l.role, l.document_sealed is not null as sealed,
        (select count(*)::int from redeemed_nonces n where n.used_in = l.claim_hash) as nonces,
        (select count(*)::int from events v where v.device_id = d.id and v.name = 'enrolled') as enrolled,
        (select count(*)::int from audit a where a.target = 'device:' || d.serial and a.action = 'enroll') as audited,
        (select count(*)::int from tasks t where t.enrollment_id = l.id and t.verb = 'token-create'
          and t.subject = l.join_token_id and t.secret_sealed is not null and l.join_sealed is not null) as tokens,
        l.node_hash is not null as node
      from devices d left join enrollments l on l.device_id = d.id and l.ended_at is null
      where d.serial like ${`KILL-${round}-%`} order by d.serial`,
  )

/** Of all rounds: as many of everything as claims were accepted, so nothing stands alone. */
const totals = () =>
  look(async (sql) => {
    const [row] = await sql`
      select (select count(*)::int from enrollments) as enrollments,
        (select count(*)::int from tasks) as tasks,
        (select count(*)::int from tasks t where not exists (select from enrollments e where e.id = t.enrollment_id)) as stray_tasks,
        (select count(*)::int from audit where action = 'enroll') as audited,
        (select count(*)::int from events where name = 'enrolled') as enrolled,
        (select count(*)::int from redeemed_nonces n
          where not exists (select from enrollments e where e.claim_hash = n.used_in)) as stray_nonces`
    return { ...row }
  })

test(`gives each box exactly one enrolment and one token, its retry the same answer, and leaves nothing by halves, ${rounds} times`, async () => {
  let lost = 0
  for (let round = 0; round < rounds; round++) {
    const boxes = await register(round)
    const claims = await Promise.all(boxes.map(async (box) => box.claim(await nonce(), { aud: serving.origin })))
    const first = claims.map((claim) => send(claim).catch(() => undefined))
    await sleep(Math.random() * 30)
    await strike(round)
    const said = await Promise.all(first)
    const kept = await Promise.all(claims.map((claim, i) => answers(boxes[i] as FakeDevice, claim, said[i])))
    lost += kept.filter((answered) => !answered).length
    assert.equal(
      [...(await traces(round))],
      boxes.map(({ serial }, i) => whole(serial, roleOf(i))),
    )
  }
  const all = rounds * boxesPerRound
  const none = { stray_tasks: 0, stray_nonces: 0 }
  assert.equal(await totals(), { enrollments: all, tasks: all / 2, audited: all, enrolled: all, ...none })
  assert.ok(lost > 0, 'no answer was ever lost: nothing was shown')
})
