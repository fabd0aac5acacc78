import * as assert from 'uvu/assert'
import { GateWorld, type Kind } from '../fakes/gate-world.ts'
import { suite } from '../suite.ts'

const test = suite('fifty servers at the gate', { timeout: 300_000 })

const runs: [Kind, number][] = [
  ['managed', 600],
  ['postgres', 200],
  ['embedded-etcd', 200],
]

for (const [kind, count] of runs) {
  test(`${kind}: in ${count} runs with every fault one makes the cluster, and all that live get in`, async () => {
    const seen = { passes: 0, stops: 0, gone: 0 }
    for (let seed = 1; seed <= count; seed++) {
      // Each third run is free of faults, so that nothing here depends on them.
      const world = new GateWorld(seed, kind, 50, seed % 3 === 0 ? 0 : seed % 3 === 1 ? 0.01 : 0.04)
      const ended = await world.run()
      const alive = world.boxes.filter((box) => !box.gone)
      const outside = alive.filter((box) => !box.joined).map((box) => box.id)
      const about = `seed ${seed}, ${world.cluster.state}, ${alive.length} alive`
      assert.equal(world.wrongs, [], about)
      assert.ok(ended, `${about}: ${outside.length} never came to an end`)
      assert.equal(outside, [], about)
      if (alive.length > 0) assert.equal([world.cluster.state, world.cluster.caHash], ['up', world.cas[0]], about)
      seen.passes += world.passes
      seen.stops += world.stops
      seen.gone += 50 - alive.length
    }
    // Else the runs would prove nothing.
    assert.ok(seen.gone > count && (kind === 'managed' ? seen.passes : seen.stops) > count / 2, JSON.stringify(seen))
  })
}
