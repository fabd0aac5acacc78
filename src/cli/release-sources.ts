import { statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import type { Config } from '../config.ts'
import { type Architecture, architectures, installScript, sumsName } from '../k3s/release.ts'
import { parseVersion } from '../k3s/version.ts'
import type { ReleaseQuestion } from '../mirror/release-lists.ts'
import { directorySource, type Source } from '../mirror/source.ts'
import { fixedUrls, urlSource } from '../mirror/url-source.ts'
import { UsageError } from './command.ts'

/** Flags of every command that reads a release. */
export const releaseFlags = {
  from: { type: 'string' },
  script: { type: 'string' },
  arch: { type: 'string' },
  yes: { type: 'boolean' },
} as const

export type ReleaseValues = { from?: string | undefined; script?: string | undefined; arch?: string | undefined }

/** @throws UsageError if it is no release of K3s */
export function versionArgument(text: string | undefined): string {
  try {
    parseVersion(text ?? '')
    return text as string
  } catch {
    throw new UsageError('give a version: a K3s release such as v1.36.3+k3s1')
  }
}

/** Where a release is read from: what flags say, else what documents would name. @throws UsageError */
export async function releaseQuestion(
  { k3s }: Config,
  version: string,
  { from, script, arch }: ReleaseValues,
): Promise<ReleaseQuestion> {
  const source = from === undefined ? urlSource(below(k3s.artifactUrl, version)) : sourceOf(from, version)
  return {
    version,
    architectures: arch === undefined ? architectures : chosen(arch),
    source,
    scripts: script === undefined ? await scriptsBeside(source, from, k3s.scriptUrl, version) : scriptSource(script),
  }
}

// A release holds no install script; a mirror and a directory do. What was named as a directory stays one: it is for sites without a way out.
async function scriptsBeside(source: Source, from: string | undefined, scriptUrl: string, version: string) {
  if (from !== undefined && (!isUrl(from) || (await source.has(installScript)))) return source
  return scriptSource(scriptUrl.replaceAll('{version}', encodeURIComponent(version)))
}

function sourceOf(from: string, version: string): Source {
  if (isUrl(from)) return urlSource(below(from, version))
  const directory = resolve(from)
  // An empty variable of a script is no wish to read the directory that one is in.
  if (from === '' || !isDirectory(directory))
    throw new UsageError(`--from: "${from}" is no directory, and no http or https URL`)
  const inner = [version, encodeURIComponent(version)].map((name) => join(directory, name)).find(isDirectory)
  const flat = architectures.some((arch) => exists(join(directory, sumsName(arch))))
  return directorySource(flat ? directory : (inner ?? directory))
}

/** One file, whatever its name; its own list of hashes has the same name with `.sha256sum`. */
function scriptSource(place: string): Source {
  const named = (base: string) => (name: string) => base + name.slice(installScript.length)
  if (isUrl(place)) return fixedUrls(named(place))
  const directory = directorySource(dirname(resolve(place)))
  const inDirectory = named(basename(place))
  return {
    place: (name) => directory.place(inDirectory(name)),
    has: (name) => directory.has(inDirectory(name)),
    open: (name, from) => directory.open(inDirectory(name), from),
  }
}

/** A release's directory below a prefix; a URL that names the release already is it. */
function below(prefix: string, version: string): string {
  const base = prefix.replace(/\/+$/, '')
  return decodeURIComponent(basename(new URL(base).pathname)) === version
    ? base
    : `${base}/${encodeURIComponent(version)}`
}

function chosen(list: string): Architecture[] {
  const names = list.split(',').filter((name) => name !== '')
  const unknown = names.find((name) => !architectures.includes(name as Architecture))
  if (unknown !== undefined || names.length === 0)
    throw new UsageError(`--arch: give some of ${architectures.join(',')}`)
  return names as Architecture[]
}

const isUrl = (text: string) => /^https?:\/\//i.test(text)
const exists = (path: string) => statSync(path, { throwIfNoEntry: false }) !== undefined
const isDirectory = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
