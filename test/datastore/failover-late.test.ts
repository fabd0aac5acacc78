import * as assert from 'uvu/assert'
import type { GateBox } from '../fakes/gate-box.ts'
import { suite } from '../suite.ts'
import { majors } from '../throwaway-postgres.ts'
import { onSite, waits } from './failover-site.ts'

const test = suite('PostgreSQL 15 fails over to a standby that is late', { timeout: 120_000 })
// Debian's binaries: the embedded 18 brings no pg_basebackup.
const with15 = majors.includes(15) ? test : test.skip

with15('a standby that misses the last moments: whoever went first has no login there, and one goes first', () =>
  onSite(['late'], async ({ standby, clusters, askAll, failOver, mayLogIn }) => {
    // Two of its four servers.
    const [before, after] = clusters.flatMap(({ boxes }) => boxes) as [GateBox, GateBox]
    await standby.cut()
    assert.equal(await askAll([before]), ['200'])
    assert.ok(await mayLogIn(before))
    await failOver()
    assert.equal(await askAll([after]), ['200'])
    assert.equal(await askAll([before]), [waits])
    assert.equal([await mayLogIn(before), await mayLogIn(after)], [false, true])
  }),
)
