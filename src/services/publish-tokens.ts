import { parseBootstrapToken } from '../k3s/tokens.ts'
import { renewBefore, stepOf } from '../roll/join-token.ts'
import { type NewEvent, recordEvents } from '../store/events.ts'
import { type DueToken, extendTokens, lockDueTokens } from '../store/join-tokens.ts'
import { countWaitingTasks } from '../store/tasks.ts'
import { date } from '../store/time.ts'
import type { Context } from './context.ts'
import { joinPlace } from './mint-enrollment.ts'
import { queueTask, type Task, wakeCluster } from './queue-task.ts'
import { rollTransaction } from './roll-transaction.ts'

/** Seconds between passes: less than a quarter of the shortest life of a join token. */
const period = 30
/** Tokens of one transaction. */
const together = 500

type Work = { tasks: Task[]; extended: { enrollmentId: string; until: number }[]; news: NewEvent[] }

/**
 * Renews the join tokens of agents that are still on their way, and has those deleted whose time is up or whose enrollment ended.
 * @returns how many something was done about
 */
export async function tendTokens(context: Context): Promise<number> {
  const now = context.now()
  const work = await rollTransaction(context, async (tx) => {
    const all: Work = { tasks: [], extended: [], news: [] }
    for (const token of await lockDueTokens(tx, now + renewBefore, together)) tend(context, all, token, now)
    await extendTokens(tx, all.extended)
    await recordEvents(tx, date(now), all.news)
    await queueTask(context, tx, ...all.tasks)
    return all
  })
  for (const clusterId of new Set(work.tasks.map((task) => task.clusterId))) wakeCluster(context, clusterId)
  return work.tasks.length
}

function tend(context: Context, { tasks, extended, news }: Work, token: DueToken, now: number): void {
  const { clusterId, enrollmentId, tokenId: subject } = token
  const secret = secretOf(context, token)
  const step = stepOf({ ...token, known: secret !== undefined }, now)
  if (step?.do === 'delete') {
    tasks.push({ clusterId, verb: 'token-delete', subject, enrollmentId })
    if (step.why === 'expired') news.push(expired(token))
  } else if (step?.do === 'renew') {
    tasks.push({
      clusterId,
      verb: 'token-create',
      subject,
      secret: secret as string,
      expiresAt: step.until,
      enrollmentId,
    })
    extended.push({ enrollmentId, until: step.until })
  }
}

// One token that cannot be read must not keep the others from theirs.
function secretOf({ vault, log }: Context, { enrollmentId, sealed }: DueToken): string | undefined {
  if (sealed === null) return undefined
  try {
    return parseBootstrapToken(vault.open(joinPlace(enrollmentId), sealed).toString())?.secret
  } catch (error) {
    log.error({ err: { message: (error as Error).message }, enrollment: enrollmentId }, 'join token cannot be read')
    return undefined
  }
}

function expired({ deviceId, enrollmentId, expiresAt }: DueToken): NewEvent {
  const detail = { detail: 'the device did not join in time; it must claim again', expired_at: expiresAt }
  return { deviceId, enrollmentId, name: 'join.expired', result: 'fail', detail }
}

/**
 * Tends join tokens until stopped. Never fails the process.
 * @param waiting told how many tasks wait in all
 */
export function startPublisher(context: Context, waiting: (tasks: number) => void): { stop: () => Promise<void> } {
  const pass = async () => {
    try {
      while ((await tendTokens(context)) === together);
      waiting(await countWaitingTasks(context.sql))
    } catch (error) {
      context.log.debug({ err: { message: (error as Error).message } }, 'join tokens not tended')
    }
  }
  let running = pass()
  const timer = setInterval(() => {
    running = running.then(pass)
  }, period * 1000)
  timer.unref()
  return {
    stop: async () => {
      clearInterval(timer)
      await running
    },
  }
}
