import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Pair } from './certificates.ts'

/** Writes a kubeconfig that kubectl takes, for root alone. */
export function writeKubeconfig(file: string, { url, ca, client }: { url: string; ca: string; client: Pair }): void {
  const b64 = (text: string) => Buffer.from(text).toString('base64')
  mkdirSync(dirname(file), { recursive: true })
  const text = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${b64(ca)}
    server: ${url}
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
users:
- name: default
  user:
    client-certificate-data: ${b64(client.certificate)}
    client-key-data: ${b64(client.key)}
`
  writeFileSync(file, text, { mode: 0o600 })
}
