import { eq } from 'drizzle-orm'
import * as assert from 'uvu/assert'
import { clusters } from '../../../src/store/declared-schema.ts'
import { openDesk } from '../../fakes/desk.ts'
import { GateBox } from '../../fakes/gate-box.ts'
import { addCluster, addProfile, makeManagedWorld } from '../../fakes/world.ts'
import { suite } from '../../suite.ts'
import { majors, throwawayPostgres } from '../../throwaway-postgres.ts'

const test = suite('POST /v1/join while PostgreSQL restarts', { timeout: 180_000 })

const token = 'f0'.repeat(32)

for (const major of majors) {
  test(`PostgreSQL ${major}: nobody is lost, and one makes the cluster`, async () => {
    const server = await throwawayPostgres(major)
    const world = await makeManagedWorld({ ca: server.ca, database: { url: server.url, close: async () => {} } })
    try {
      const desk = await openDesk(world)
      const profile = await addProfile(world)
      const cluster = await addCluster(world, { caHash: null, state: 'virgin', datastore: { kind: 'managed' } })
      await world.managed.declare(cluster)
      const boxes: GateBox[] = []
      for (let n = 0; n < 12; n++) boxes.push(await GateBox.add(desk, { profile, cluster }))
      const said = new Set<string>()
      const askAll = async () => {
        const answers = await Promise.all(boxes.map((box) => box.ask()))
        for (const answer of answers) said.add(answer)
        return answers
      }

      let over = false
      const storm = (async () => {
        while (!over) await askAll()
      })()
      await server.restart(async () => {
        await new Promise((done) => setTimeout(done, 500))
      })
      over = true
      await storm
      const answers = await askAll()
      assert.is(answers.filter((answer) => answer === '200').length, 1, answers.join())
      const first = boxes[answers.indexOf('200')] as GateBox

      // The first one's K3s loses its session with the lock taken, and goes on after it.
      const before = await first.session()
      await first.lock(before, token)
      await server.restart()
      await before.end({ timeout: 0 })
      const after = await first.session()
      await first.finish(after, token)
      await after.end()
      assert.equal(
        await askAll(),
        boxes.map(() => '200'),
      )
      const [row] = await world.db.select().from(clusters).where(eq(clusters.id, cluster))
      assert.is(row?.state, 'up')
      const known = ['200', '503 cluster_not_ready', '503 datastore_unavailable', '503 busy']
      assert.equal(
        [...said].filter((answer) => !known.includes(answer)),
        [],
      )
      assert.ok(said.has('503 datastore_unavailable'))
    } finally {
      await world.end()
      await server.stop()
    }
  })
}
