import type { Context } from '../services/context.ts'
import { startUpgradeFollower } from '../services/follow-upgrades.ts'
import { startLoginSweeper } from '../services/login-sweeper.ts'
import type { TaskPolls } from '../services/poll-tasks.ts'
import { startSweeper } from '../services/sweeper.ts'
import { hearWakes } from '../services/task-wake.ts'

/** What runs beside the requests; nothing of it can end the process. */
export function startBackground(context: Context, polls: TaskPolls): { stop: () => Promise<void> } {
  const parts = [
    startSweeper(context),
    startLoginSweeper(context),
    startUpgradeFollower(context),
    hearWakes(context, polls.wake),
  ]
  return {
    stop: async () => {
      await Promise.all(parts.map((part) => part.stop()))
    },
  }
}
