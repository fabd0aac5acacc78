import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Architecture, binaryName, imageNames, sumsName } from '../../src/k3s/release.ts'

export const version = 'v1.36.3+k3s1'

export type MadeRelease = {
  directory: string
  bytes: (name: string) => Buffer
  write: (name: string, bytes: Buffer | string) => void
}

/** A release as K3s publishes one, but small: binaries, archives of images, lists by the real sha256sum, and the install script beside. */
export function makeRelease(
  directory: string,
  architectures: readonly Architecture[] = ['amd64', 'arm64'],
): MadeRelease {
  mkdirSync(directory, { recursive: true })
  const write = (name: string, bytes: Buffer | string) => writeFileSync(join(directory, name), bytes)
  for (const arch of architectures) {
    const names = [binaryName(arch), ...imageNames(arch)]
    for (const name of names) write(name, randomBytes(20_000 + name.length))
    write(sumsName(arch), execFileSync('sha256sum', names, { cwd: directory }))
  }
  write('install.sh', '#!/bin/sh\necho install\n')
  write('install.sh.sha256sum', execFileSync('sha256sum', ['install.sh'], { cwd: directory }))
  return { directory, bytes: (name) => readFileSync(join(directory, name)), write }
}
