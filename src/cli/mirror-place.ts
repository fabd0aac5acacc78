import { join } from 'node:path'
import type { Config } from '../config.ts'
import { mirrorDisk } from '../mirror/mirror-disk.ts'
import type { Mirror } from '../services/context.ts'

/** Where a data directory has its mirror. */
export const mirrorRoot = ({ dataDirectory }: Config): string => join(dataDirectory, 'mirror')

/** The mirror as documents and both listeners use it; undefined where it is off. */
export function mirrorOf(config: Config): Mirror | undefined {
  const { mirror } = config.k3s
  return mirror === 'off' ? undefined : { ...mirrorDisk(mirrorRoot(config)), only: mirror === 'on' }
}
