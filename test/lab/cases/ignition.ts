import type { Case } from '../case.ts'
import type { World } from '../world.ts'

export function ignitionCases(_: World): Case[] {
  return []
}
