import { type Config, dataUrl, fileOf } from './ignition-node.ts'

const nodeEnv = '/etc/rollcall/node.env'

/** What a document may have that cannot be done to the letter, and what is said of it. */
export const refused: [what: string, said: RegExp, spoil: (config: Config) => unknown][] = [
  [
    'of a version that is not known',
    /version of Ignition/,
    ({ ignition }) => Object.assign(ignition, { version: '4.0.0' }),
  ],
  [
    'with parts elsewhere',
    /parts that are elsewhere/,
    ({ ignition }) => Object.assign(ignition, { config: { merge: [{ source: 'https://192.0.2.1/more' }] } }),
  ],
  ['with a path that leads out of its folder', /not clean/, at('/etc/rollcall/../shadow')],
  ['with a path that is escaped', /not clean/, at('/etc/rollcall/\t')],
  ['with a path of doubled slashes', /not clean/, at('/etc//rollcall/x')],
  ['with a path that no document has', /not what this machine expects/, at('/etc/rollcall/a b')],
  ['with a path twice', /node\.env twice/, at(nodeEnv)],
  [
    'with a link among its files',
    /x, which is no file/,
    ({ storage }) => Object.assign(storage, { links: [{ path: '/etc/rancher/x', target: '/etc/shadow' }] }),
  ],
  ['without a mode', /path and mode/, (config) => delete fileOf(config, nodeEnv).mode],
  ['with a mode of more than bits', /path and mode/, change({ mode: 2432 })],
  ['with a mode of a sticky bit', /path and mode/, change({ mode: 0o1600 })],
  ['with a mode as text', /path and mode/, change({ mode: '384' })],
  ['for another owner', /says user\.id of .*node\.env/, change({ user: { id: 1000 } })],
  ['for an owner by name', /says group\.name of/, change({ group: { name: 'wheel' } })],
  ['that appends', /says append\.0\.source/, change({ append: [{ source: dataUrl('x') }] })],
  ['with a file that is packed', /contents\.compression/, contents({ source: dataUrl('x'), compression: 'gzip' })],
  [
    'with a file that says it is not packed',
    /contents\.compression/,
    contents({ source: dataUrl('x'), compression: '' }),
  ],
  ['with a file elsewhere', /a form that this machine cannot read/, contents({ source: 'https://192.0.2.1/node.env' })],
  ['with a file that is no base64', /a form that/, contents({ source: 'data:,ROLLCALL_URL%3D' })],
  ['with base64 that is cut', /cannot be read/, contents({ source: 'data:;base64,Uk9MTENBTE' })],
  ['with base64 that is not what encoding gives', /cannot be read/, contents({ source: 'data:;base64,QR==' })],
  [
    'with K3s by a hash that cannot be checked',
    /usr\/local\/bin\/k3s in a form/,
    (config) => Object.assign(k3sOf(config), { verification: { hash: `sha512-${'0'.repeat(128)}` } }),
  ],
  ['without its settings', /has no \/etc\/rollcall\/node\.env/, without(nodeEnv)],
  ['without K3s settings', /has no \/etc\/rancher\/k3s\/config\.yaml/, without('/etc/rancher/k3s/config.yaml')],
  ['without the token of an agent', /has no token/, without('/etc/rancher/k3s/token')],
]

function at(path: string) {
  return ({ storage }: Config) => storage.files.push({ path, mode: 384, contents: { source: dataUrl('x') } })
}

function change(members: object) {
  return (config: Config) => Object.assign(fileOf(config, nodeEnv), members)
}

function contents(members: object) {
  return change({ contents: members })
}

/** Takes a file out of a config. */
export function without(path: string) {
  return ({ storage }: Config) =>
    storage.files.splice(
      storage.files.findIndex((file) => file.path === path),
      1,
    )
}

function k3sOf(config: Config): object {
  return fileOf(config, '/usr/local/bin/k3s').contents as object
}
