import { createHash } from 'node:crypto'
import { AppError } from '../errors.ts'
import type { VersionSpec } from '../k3s/cluster.ts'
import { versionOf } from '../k3s/hashes.ts'
import { type Architecture, binaryName, installScript, parseSums, sumsName } from '../k3s/release.ts'
import { readSmall, type Source } from './source.ts'

const mostList = 65_536
const mostScript = 1_048_576

/** What a release says of its files. */
export type ReleaseLists = {
  spec: VersionSpec
  /** Files of the release by name: the list that names each, and its hash */
  listed: Map<string, { sha256: string; list: string }>
  /** Lists and script that were read, by file name, and their own hashes */
  texts: Map<string, Buffer>
  hashes: Map<string, string>
  /** Where the install script came from, and whether a list of its own vouched for it */
  script: { place: string; vouched: boolean }
}

export type ReleaseQuestion = {
  version: string
  architectures: readonly Architecture[]
  /** Where the lists are */
  source: Source
  /** Where the install script is */
  scripts: Source
}

/**
 * Reads a release's lists of hashes and its install script, which no list of the release names.
 * @throws Error with a sentence if there is no list, or one is not to be trusted
 */
export async function readRelease({ version, architectures, source, scripts }: ReleaseQuestion): Promise<ReleaseLists> {
  const listed: ReleaseLists['listed'] = new Map()
  const texts: ReleaseLists['texts'] = new Map()
  for (const arch of architectures) {
    const list = sumsName(arch)
    const text = await readSmall(source, list, mostList)
    if (!text) continue
    const sums = readList(text, list)
    if (!sums.has(binaryName(arch))) throw new Error(`${source.place(list)} does not name ${binaryName(arch)}`)
    texts.set(list, text)
    for (const [name, sha256] of sums) add(listed, name, { sha256, list })
  }
  if (texts.size === 0) throw new Error(`${source.place(sumsName(architectures[0] as Architecture))} is not there`)
  const script = await readScript(scripts)
  texts.set(installScript, script.text)
  const hashes = new Map([...texts].map(([name, text]) => [name, sha256Of(text)]))
  const named = [...listed].map(([name, { sha256 }]) => [name, sha256] as const)
  const spec = versionOf(version, new Map([...named, [installScript, script.sha256]]))
  if (!spec) throw new Error(`${version}: the lists name no binary of K3s`)
  return { spec, listed, texts, hashes, script: { place: scripts.place(installScript), vouched: script.vouched } }
}

function add(listed: ReleaseLists['listed'], name: string, entry: { sha256: string; list: string }): void {
  const before = listed.get(name)
  if (before && before.sha256 !== entry.sha256) throw new Error(`${before.list} and ${entry.list} differ about ${name}`)
  listed.set(name, entry)
}

async function readScript(scripts: Source): Promise<{ text: Buffer; sha256: string; vouched: boolean }> {
  const text = await readSmall(scripts, installScript, mostScript)
  if (!text) throw new Error(`${scripts.place(installScript)} is not there`)
  const sha256 = sha256Of(text)
  const name = `${installScript}.sha256sum`
  const sums = await readSmall(scripts, name, mostList)
  if (sums && readList(sums, name).get(installScript) !== sha256) {
    throw new Error(`${scripts.place(installScript)} is not what ${name} beside it says: SHA-256 ${sha256}`)
  }
  return { text, sha256, vouched: sums !== undefined }
}

const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

function readList(text: Buffer, name: string): Map<string, string> {
  try {
    return parseSums(text.toString('utf8'), name)
  } catch (error) {
    throw error instanceof AppError ? new Error(error.detail) : error
  }
}
