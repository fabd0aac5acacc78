import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import { mysqlEndpoint, mysqlProblem, parseMysql } from '../../src/k3s/endpoint-mysql.ts'
import { postgresEndpoint, postgresProblem } from '../../src/k3s/endpoint-postgres.ts'
import { buildDrivers, readBack } from '../drivers/drivers.ts'
import { suite } from '../suite.ts'

const test = suite("endpoints, as K3s' own drivers read them", { timeout: 300_000 })
const program = buildDrivers()

// Whatever an admin may have in a password, and most of what breaks parsers.
const nasty = fc.string({
  unit: fc.constantFrom(...'aZ09@:/?#[]%&=+;,!$\'"()*<>\\^`{|}~ .-_ä€😀\u0080'),
  minLength: 1,
  maxLength: 24,
})
const plain = fc.string({
  unit: fc.constantFrom(...'aZ09@/?#[]%&=+;,!$\'"()*<>\\^`{|}~.-_'),
  minLength: 1,
  maxLength: 24,
})
const host = fc.constantFrom('db.example.net', '10.0.0.9', 'fd00::1', 'db-1')
const port = fc.integer({ min: 1, max: 65_535 })
const database = fc.stringMatching(/^[a-z_][a-z0-9_]{0,20}$/)
const sample = <T>(of: fc.Arbitrary<T>) => fc.sample(of, { numRuns: 3_000, seed: 1_795_396_247 })
// fast-check's records have no prototype, JSON's have.
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) => fc.record(model).map((one) => ({ ...one }))

test('pgx reads every user and password that Rollcall writes', () => {
  if (!program) return
  const parts = sample(record({ user: nasty, password: nasty, host, port, database }))
  const read = readBack(program, parts.map(postgresEndpoint))
  assert.deepEqual(read, parts)
})

test('the MySQL driver reads every user and password that Rollcall writes', () => {
  if (!program) return
  const user = plain.filter((text) => !text.includes(':'))
  const password = fc.oneof(plain, fc.constant(':@tcp(h:1)/db?'), fc.constant(''))
  const parts = sample(record({ user, password, host, port, database }))
  const read = readBack(
    program,
    parts.map((one) => mysqlEndpoint(one)),
  )
  assert.deepEqual(read, parts)
})

test('what is accepted of MySQL is read by its driver in the same way', () => {
  if (!program) return
  const text = fc.string({ unit: fc.constantFrom(...'ab0:@/?()[]%=&._-'), maxLength: 30 })
  const around = fc.tuple(text, text, text).map(([a, b, c]) => `mysql://${a}@tcp(${b}:3306)/${c}`)
  const accepted = sample(
    fc.oneof(
      around,
      text.map((t) => `mysql://u:${t}@tcp(h)/d`),
    ),
  ).filter((e) => !mysqlProblem(e))
  assert.ok(accepted.length > 100, `${accepted.length} accepted`)
  const read = readBack(program, accepted)
  accepted.forEach((endpoint, i) => {
    const { parameters: _, ...mine } = parseMysql(endpoint) as Exclude<
      ReturnType<typeof parseMysql>,
      { problem: string }
    >
    assert.deepEqual(read[i], mine, endpoint)
  })
})

test('what is accepted of PostgreSQL is read by pgx, with the database as it is written', () => {
  if (!program) return
  const text = fc.string({ unit: fc.constantFrom(...'abA0:@/?#[]%=&._-'), maxLength: 20 })
  const accepted = sample(fc.tuple(text, text, text).map(([a, b, c]) => `postgres://${a}:${b}@h:5432/${c}`)).filter(
    (endpoint) => !postgresProblem(endpoint),
  )
  assert.ok(accepted.length > 20, `${accepted.length} accepted`)
  readBack(program, accepted).forEach((read, i) => {
    const url = new URL(accepted[i] as string)
    assert.equal(read.error, undefined, accepted[i])
    assert.equal(read.database, decodeURIComponent(url.pathname.slice(1)), accepted[i])
    assert.equal(read.user, decodeURIComponent(url.username), accepted[i])
    assert.equal(read.password, decodeURIComponent(url.password), accepted[i])
  })
})
