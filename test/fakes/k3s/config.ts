import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'

export type Role = 'server' | 'agent'

/** Keys of config.yaml as K3s reads them: every value a text or a list of texts. */
export type Config = Readonly<Record<string, string | readonly string[]>>

/** An agent dies on a key that it does not know, a server only warns (K3s pkg/configfilearg). */
const agentKeys = new Set(
  `server token token-file data-dir node-name with-node-id node-label node-taint node-ip node-external-ip selinux private-registry
  snapshotter kubelet-arg kube-proxy-arg flannel-iface resolv-conf protect-kernel-defaults lb-server-port bind-address debug
  disable-default-registry-endpoint pause-image prefer-bundled-bin`.split(/\s+/),
)

/** config.yaml, then config.yaml.d in alphabetical order: the last wins, `key+` appends. @throws Error on a key that an agent does not know */
export function readConfig(root: string, role: Role): Config {
  const folder = join(root, 'etc/rancher/k3s')
  const more = join(folder, 'config.yaml.d')
  const files = [
    join(folder, 'config.yaml'),
    ...(existsSync(more) ? readdirSync(more).filter((name) => /\.ya?ml$/.test(name)) : [])
      .sort()
      .map((name) => join(more, name)),
  ]
  const config: Record<string, string | string[]> = {}
  for (const file of files.filter(existsSync)) {
    for (const [given, value] of Object.entries((parse(readFileSync(file, 'utf8')) ?? {}) as Record<string, unknown>)) {
      const key = given.replace(/\+$/, '')
      if (role === 'agent' && !agentKeys.has(key)) throw new Error(`flag provided but not defined: -${key}`)
      const texts = Array.isArray(value) ? value.map(String) : String(value)
      config[key] = given === key ? texts : [config[key] ?? [], texts].flat()
    }
  }
  return config
}

export const text = (config: Config, key: string): string => String(config[key] ?? '')
export const list = (config: Config, key: string): string[] => [config[key] ?? []].flat()

/** The token, waited for as the real one does: it may come after K3s. @throws Error if it does not come in four minutes */
export async function readToken(root: string, config: Config, say: (line: string) => void): Promise<string> {
  const direct = text(config, 'token')
  if (direct) return direct
  const file = text(config, 'token-file')
  if (!file) throw new Error('--token is required')
  for (let tries = 0; tries < 120; tries++) {
    const token = existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8').trim() : ''
    if (token) return token
    say(`Waiting for file ${file} to be created`)
    await sleep(2_000)
  }
  throw new Error(`timed out while waiting for ${file}`)
}

/** Whether it is a bootstrap token, full or bare: servers take none. */
export const bootstrapForm = /^(?:K10[0-9a-f]{64}::)?[a-z0-9]{6}\.[a-z0-9]{16}$/
