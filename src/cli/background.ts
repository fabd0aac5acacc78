import type { Metrics } from '../http/ops/metrics.ts'
import { startAccessRunner } from '../services/access-runner.ts'
import type { Context } from '../services/context.ts'
import { startUpgradeFollower } from '../services/follow-upgrades.ts'
import { startLockWatch } from '../services/lock-watch.ts'
import { startLoginSweeper } from '../services/login-sweeper.ts'
import { startObserver } from '../services/observer.ts'
import type { TaskPolls } from '../services/poll-tasks.ts'
import { startPublisher } from '../services/publish-tokens.ts'
import { startSweeper } from '../services/sweeper.ts'
import { hearWakes } from '../services/task-wake.ts'
import type { Keep } from '../store/forget.ts'

/** What runs beside the requests; nothing of it can end the process. */
export function startBackground(
  context: Context,
  polls: TaskPolls,
  metrics: Metrics,
  keep: Keep,
): { stop: () => Promise<void> } {
  const parts = [
    startSweeper(context, keep),
    startLoginSweeper(context),
    startLockWatch(context),
    startUpgradeFollower(context),
    startObserver(context),
    startAccessRunner(context),
    startPublisher(context, metrics.tasksWaiting),
    hearWakes(context, polls.wake),
  ]
  return {
    stop: async () => {
      await Promise.all(parts.map((part) => part.stop()))
    },
  }
}
