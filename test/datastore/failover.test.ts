import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import * as assert from 'uvu/assert'
import type { GateBox } from '../fakes/gate-box.ts'
import { testsWithKine } from '../kine/program.ts'
import { suite } from '../suite.ts'
import { majors } from '../throwaway-postgres.ts'
import { type Boxes, onSite } from './failover-site.ts'
import type { FirstServer } from './first-server.ts'

const test = suite('managed clusters begin while PostgreSQL 15 fails over', { timeout: 180_000 })
// Debian's binaries: the embedded 18 brings no pg_basebackup.
const withKine = majors.includes(15) ? testsWithKine(test) : test.skip

const others = (boxes: Boxes, first: GateBox) => boxes.filter((box) => box !== first)
const hashOf = (ca: string) => createHash('sha256').update(ca).digest('hex')

withKine('first servers that live through it or die of it go on with their lock, and the others join them', () =>
  onSite(['lives', 'dies'], async (opened, started) => {
    const { standby, clusters, askAll, k3sOf, failOver, observe, state } = opened
    await standby.synchronise()
    const before = await askAll()
    const firsts = clusters.map(({ boxes }, n) => boxes[before.slice(4 * n, 4 * n + 4).indexOf('200')] as GateBox)
    for (const first of firsts) started.push(await k3sOf(first, true))
    const [lives, dies] = started as [FirstServer, FirstServer]
    const storm = askAll()
    await failOver()
    assert.equal([await storm, await askAll()], [before, before], 'nobody else was let in')

    await dies.die()
    const again = await k3sOf(firsts[1] as GateBox, false)
    started.push(again)
    // Its driver tries a connection that rested for a second before it trusts it (pgx stdlib, ResetSession); one that did not may fail K3s' next write.
    await sleep(1_500)
    await lives.answers()
    // The other finds its own lock, and waits for 20 s as K3s does.
    const authorities = await Promise.all([lives.goOn(), again.goOn()])
    for (const [n, { cluster, boxes }] of clusters.entries()) {
      assert.equal(await askAll(others(boxes, firsts[n] as GateBox)), ['200', '200', '200'])
      assert.equal(await state(cluster), ['up', hashOf(authorities[n] as string)])
    }
    await observe()
  }),
)
