import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ProfileSpec, Role } from '../../src/documents/profile.ts'
import { builtinTemplates } from '../../src/services/builtin-templates.ts'
import { documentComposer } from '../../src/services/compose-document.ts'
import { partsOf, settings } from '../documents/parts.ts'
import type { DeviceServer } from '../fakes/device-server.ts'
import { template } from './box.ts'
import { k3s, Node } from './node.ts'

type File = {
  path: string
  mode?: unknown
  contents?: { source?: string; verification?: { hash: string } }
  [member: string]: unknown
}
/** An Ignition config, as far as a box takes it apart. */
export type Config = {
  ignition: { version: string; [member: string]: unknown }
  storage: { files: File[]; [member: string]: unknown }
  [member: string]: unknown
}

/** Where the server has K3s. */
export const k3sPath = '/assets/v1.36.3%2Bk3s1/k3s'
export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const keys = { nonce: new Uint8Array(32), nodePassword: new Uint8Array(32).fill(5) }
export const dataUrl = (text: string): string => `data:;base64,${Buffer.from(text).toString('base64')}`
const textOf = ({ contents }: File) => Buffer.from(contents?.source?.split(',')[1] ?? '', 'base64').toString()

/** A machine that Ignition installed with a document of ours, and that has the client which claimed for it. */
export class IgnitionNode extends Node {
  readonly system: 'fcos' | 'flatcar'
  readonly role: Role

  constructor(server: DeviceServer, system: 'fcos' | 'flatcar', role: Role) {
    super(server)
    this.system = system
    this.role = role
    this.env.ROLLCALL_ROOT = this.root
    this.env.ROLLCALL_CLIENT = template('client.sh')
    for (const name of ['update-ca-trust', 'update-ca-certificates', 'podman']) this.command(name, '#!/bin/sh\n')
    server.downloads.set(k3sPath, Buffer.from(k3s))
  }

  /** rollcall-node, where the document has it. */
  get script(): string {
    return this.path(`${this.system === 'fcos' ? 'usr/local/sbin' : 'opt/bin'}/rollcall-node`)
  }

  /** K3s, where the document has it. */
  get k3s(): string {
    return `${this.system === 'fcos' ? 'usr/local' : 'opt'}/bin/k3s`
  }

  /**
   * What the real templates say for the enrollment that the server has now.
   * @param vars the profile's
   */
  config(role = this.role, system = this.system, vars: ProfileSpec['vars'] = {}): Config {
    const { server } = this
    const where = { publicUrl: server.url, pins: server.pin, audiences: [server.url] }
    const mirror = { k3s: { ...settings.k3s, artifactUrl: `${server.url}/assets` } }
    const composer = documentComposer({ settings: { ...settings, ...where, ...mirror }, keys }, builtinTemplates())
    const parts = partsOf(`builtin:${system}`, role)
    const secrets = { id: server.enrollment, report: server.reportToken }
    const given = role === 'server' ? { join: server.ticket, node: server.credential } : {}
    const { rendered } = composer.compose({
      ...parts,
      profile: { ...parts.profile, spec: { ...parts.profile.spec, vars } },
      device: { ...parts.device, serial: 'SN-0001', hostname: 'sn-0001' },
      cluster: {
        ...parts.cluster,
        pinned: {
          version: 'v1.36.3+k3s1',
          artifacts: { amd64: { sha256: sha256(k3s) } },
          install_script: { sha256: sha256('') },
        },
      },
      enrollment: { ...parts.enrollment, ...secrets, ...given },
    })
    const config = JSON.parse(rendered.body) as Config
    // K3s' folder is the one thing that a script reads from the document and that lies outside of /etc.
    const install = fileOf(config, '/etc/rollcall/install.env')
    const folder = textOf(install).replace(/^INSTALL_K3S_BIN_DIR='/m, `$&${this.root}`)
    install.contents = { source: dataUrl(folder) }
    return config
  }

  /** What the next claim is answered with. */
  answer(config: Config | string): void {
    const body = typeof config === 'string' ? config : `${JSON.stringify(config)}\n`
    this.server.document = { body, type: 'application/vnd.coreos.ignition+json;version=3.3.0' }
  }

  /** Writes files as Ignition would, K3s, and what the client adds to a document. */
  ignite({ storage }: Config): void {
    this.variables('etc/rollcall/client.env', { ROLLCALL_URL: this.server.url, ROLLCALL_PIN: this.server.pin })
    for (const file of storage.files)
      this.write(file.path.slice(1), file.contents?.verification ? k3s : textOf(file), file.mode as number)
  }

  /** The enrollment ended, and the server has another one for this machine. */
  enrollAnew(): void {
    Object.assign(this.server, {
      enrollment: 'enr_new',
      ticket: 'new-ticket-0123456789abcdef',
      reportToken: 'new-report-0123456789abcdef',
      credential: 'new-credential-0123456789',
    })
    this.answer(this.config())
  }

  /** The disk: each file's mode and what is in it. What scripts and stubs write beside it is none. */
  disk(): Record<string, string> {
    const seen: Record<string, string> = {}
    for (const folder of ['etc', 'usr', 'opt', 'state']) {
      mkdirSync(this.path(folder), { recursive: true })
      for (const name of readdirSync(this.path(folder), { recursive: true })) {
        const file = join(folder, String(name))
        const { mode } = statSync(this.path(file))
        const isFile = statSync(this.path(file)).isFile()
        seen[file] = `${(mode & 0o777).toString(8)} ${isFile ? sha256(readFileSync(this.path(file), 'latin1')) : ''}`
      }
    }
    return seen
  }
}

export function fileOf({ storage }: Config, path: string): File {
  const file = storage.files.find((one) => one.path === path)
  if (!file) throw new Error(`the document has no ${path}`)
  return file
}
