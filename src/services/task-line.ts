import type { TakenTask } from '../store/task-queue.ts'
import type { Vault } from '../store/vault.ts'
import { secretPlace } from './queue-task.ts'

/** A task as PROTOCOL.md, "Tasks and nodes", says it: one line, without its end. */
export function taskLine(vault: Vault, task: TakenTask): string {
  const { id, verb, subject } = task
  if (verb !== 'token-create') return `${id} ${verb} ${subject}`
  return `${id} ${verb} ${subject} ${taskSecret(vault, task)} ${task.expires_at}`
}

/** The secret half of the token that a task publishes. */
export function taskSecret(vault: Vault, { id, secret_sealed }: TakenTask): string {
  return vault.open(secretPlace(id), secret_sealed as Uint8Array).toString()
}
