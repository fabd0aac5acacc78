import { noteTrouble } from '../store/observations.ts'
import type { Context } from './context.ts'
import type { Turn } from './observe-clusters.ts'

const tampered = 'datastore_tampered: '

/** Keeps what keeps clusters from being read, for the admin. A table that was tampered with is an alarm, in the audit and the log, once; and so is its end. */
export async function noteTroubles(
  context: Pick<Context, 'db' | 'log'>,
  turns: readonly Turn[],
  now: number,
): Promise<void> {
  for (const turn of turns) {
    const trouble = troubleOf(turn)
    const before = turn.cluster.observe_trouble
    if (trouble === before) continue
    const alarm = alarmOf(before, trouble)
    const isNew = await context.db.transaction((tx) => noteTrouble(tx, turn.cluster, trouble, now, alarm))
    if (!isNew) continue
    const about = { cluster: turn.cluster.id, trouble }
    if (alarm) context.log.error(about, 'alarm: a cluster tampered with its datastore, or mended it')
    else context.log.warn(about, 'what keeps a cluster from being read has changed')
  }
}

function troubleOf({ looked, known, cluster }: Turn): string | null {
  if (looked.kind === 'tampered') return `${tampered}${looked.what}`
  if (looked.kind === 'seen') return looked.tooMany ? 'it has more Nodes than are looked at' : known.bootstrapTrouble
  // One that waited once may just have met a migration of K3s'.
  return known.late > 1 ? `its datastore cannot be read: ${looked.what}` : cluster.observe_trouble
}

function alarmOf(before: string | null, trouble: string | null): string | undefined {
  if (trouble?.startsWith(tampered)) return 'cluster.alarm.datastore_tampered'
  return before?.startsWith(tampered) ? 'cluster.alarm.datastore_mended' : undefined
}
