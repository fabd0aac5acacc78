import { AppError } from '../errors.ts'
import type { ClusterSpec } from './cluster.ts'

/** How a node's K3s is run in a container. */
export const containerForms = ['docker-run', 'compose', 'quadlet'] as const
export type ContainerForm = (typeof containerForms)[number]

/** What runs a container from a systemd unit of our own: Docker where that is at home (Debian, Flatcar), else Podman. */
export type ContainerEngine = 'docker' | 'podman'

/** K3s in a container, as one node of its cluster. Its files are the host's own (`paths` in config.ts), mounted: no secret is an argument or in its environment. */
export type K3sContainer = {
  role: 'server' | 'agent'
  /** Of the container, and of the unit that Quadlet makes: k3s or k3s-agent */
  name: string
  image: string
  hostname: string
  /** Alone, nobody but its users must reach it, at 6443; nodes of a cluster must reach each other's kubelets and pods, so they use the host's network. */
  alone: boolean
  /** K3s' own environment; nothing secret */
  env: Readonly<Record<string, string>>
}

const image =
  /^[a-z0-9.-]+(?::\d{1,5})?(?:\/[a-z0-9._-]+)+(?::([A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(@sha256:[0-9a-f]{64})?$/

/** A tag of `rancher/k3s` takes no `+`. */
export const imageTag = (version: ClusterSpec['version']): string => version.replace('+', '-')

type ImageChoice = {
  given: unknown
  registry: unknown
  registries?: ReadonlySet<string> | undefined
  allowUnpinned: boolean
}

/**
 * The image of a cluster's version.
 * @param given by the profile or the device; by default K3s' own
 * @param registry `system-default-registry` of the cluster
 * @param registries those that may be named; undefined: any
 * @throws AppError `state_conflict` if it is no image, one of another version, not pinned by digest and unpinned code was not allowed, or of a registry
 *   that may not be named
 */
export function k3sImage(
  version: ClusterSpec['version'],
  { given, registry, registries, allowUnpinned }: ImageChoice,
): string {
  const host = typeof registry === 'string' ? registry : 'docker.io'
  const name = given ?? `${host}/rancher/k3s:${imageTag(version)}`
  const found = typeof name === 'string' ? image.exec(name) : null
  if (!found) throw conflict('vars.image is no image: it names registry, repository and tag or digest')
  const [text, tag, digest] = found
  if (tag !== undefined && tag !== imageTag(version)) throw conflict(`vars.image is not of ${version}`)
  if (digest === undefined && !allowUnpinned)
    throw conflict(`vars.image must name a digest (@sha256:…): ${version} in a container is not pinned otherwise`)
  if (registries && !registries.has(registryOf(text)))
    throw conflict(
      `the image of K3s would come from ${registryOf(text)}, and nothing may be named but this server and the cluster's own registries: ` +
        'set system-default-registry, or name the registry as an endpoint in registries and in vars.image',
    )
  return text
}

/** As Docker and Podman read a name: without a dot or a port, its first part belongs to a repository of Docker's own registry. */
function registryOf(name: string): string {
  const [first = ''] = name.split('/')
  return /[.:]/.test(first) || first === 'localhost' ? first : 'docker.io'
}

const conflict = (detail: string) => new AppError('state_conflict', { detail })

/** On the Node of K3s in a container, for who must tell it from K3s on the host: the plans of an upgrade. */
export const containerLabel = { key: 'rollcall/runtime', value: 'container' } as const
/** An argument: a list in an admin's drop-in replaces config.yaml's, but not an argument's, to which it is added (seen on v1.36.3). */
const commandOf = (role: K3sContainer['role']) => [role, `--node-label=${containerLabel.key}=${containerLabel.value}`]

const tmpfs = ['/run', '/var/run']
const volumes = [
  '/etc/rancher:/etc/rancher',
  '/var/lib/rancher/k3s:/var/lib/rancher/k3s',
  '/lib/modules:/lib/modules:ro',
]
/**
 * Where systemd-resolved keeps its upstream name servers. Podman hands a host's resolv.conf on as it is, and where that names only the stub on loopback K3s looks here
 * before it gives pods 8.8.8.8 (K3s pkg/agent/config/config.go); Docker looks here itself.
 */
const resolved = '/run/systemd/resolve'
const mounts = { docker: volumes, podman: [...volumes, `${resolved}:${resolved}:ro`] }
const api = '6443:6443'
const openFiles = 1_048_576
/** Podman counts 2,048 unless it is told, and Docker's scope what systemd allows any: all pods of the node are in this one container. */
const processes = -1

/**
 * On the host, as K3s' own unit has it: the image's modprobe cannot unpack modules that are packed by zstd, as Ubuntu's are, and Docker loads none any more
 * (moby pull request 48948).
 */
const modules = ['br_netfilter', 'overlay'].map((name) => `ExecStartPre=-/sbin/modprobe ${name}\n`).join('')
/** Podman refuses to mount a directory that is not there. */
const makeResolved = `ExecStartPre=-/bin/mkdir -p ${resolved}\n`

/**
 * The text that runs a node's K3s: a shell command, compose.yaml, or a Quadlet unit.
 * @param startMark path of a file without which a Quadlet unit does not start
 * @throws AppError `state_conflict` for an environment that the three do not write alike
 */
export function containerText(form: ContainerForm, container: K3sContainer, startMark?: string): string {
  checkEnvironment(container)
  return { 'docker-run': dockerRun, compose, quadlet }[form](container, startMark)
}

/**
 * A systemd unit that runs a node's K3s in the foreground, so that it is started, stopped and enabled as K3s on the host is.
 * @throws AppError `state_conflict` as `containerText`
 */
export function containerUnit(engine: ContainerEngine, container: K3sContainer): string {
  checkEnvironment(container)
  const { name } = container
  const program = `/usr/bin/${engine}`
  const waits = `network-online.target time-sync.target${engine === 'docker' ? ' docker.service' : ''}`
  // Its log is the journal's: an engine's own copy would grow without end.
  const run = [`${program} run --rm --name ${name} --log-driver none --privileged`, ...runLines(engine, container)]
  return `[Unit]
Description=Lightweight Kubernetes (K3s) in a container
Wants=${waits}
After=${waits}

[Service]
${modules}${engine === 'podman' ? makeResolved : ''}ExecStartPre=-${program} rm --force --volumes ${name}
ExecStart=${run.join(' \\\n  ')}
ExecStop=-${program} stop -t 30 ${name}
Restart=always
RestartSec=5
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
`
}

function checkEnvironment({ env }: K3sContainer): void {
  for (const [name, value] of Object.entries(env)) {
    if (!/^[A-Z][A-Z0-9_]*=[A-Za-z0-9_.,:/@+-]*$/.test(`${name}=${value}`))
      throw conflict(`${name} has a value that no container is given`)
  }
}

function dockerRun(container: K3sContainer): string {
  const lines = [
    `docker run --detach --name ${container.name} --restart always --privileged`,
    ...runLines('docker', container),
  ]
  return `${lines.join(' \\\n  ')}\n`
}

/** What follows `run`, its own options aside: Docker and Podman take it alike. */
function runLines(engine: ContainerEngine, { role, image, hostname, alone, env }: K3sContainer): string[] {
  return [
    alone ? `--hostname ${hostname} --publish ${api}` : '--network host',
    tmpfs.map((path) => `--tmpfs ${path}`).join(' '),
    mounts[engine].map((volume) => `--volume ${volume}`).join(' '),
    [
      `--pids-limit=${processes} --ulimit nofile=${openFiles}:${openFiles}`,
      ...pairs(env).map((pair) => `--env ${pair}`),
    ].join(' '),
    [image, ...commandOf(role)].join(' '),
  ]
}

function compose({ role, name, image, hostname, alone, env }: K3sContainer): string {
  return `services:
  ${name}:
    image: "${image}"
    command: ${JSON.stringify(commandOf(role))}
    privileged: true
    restart: always
${alone ? `    hostname: "${hostname}"\n    ports: ["${api}"]` : '    network_mode: host'}
    tmpfs: ${JSON.stringify(tmpfs)}
    volumes:
${volumes.map((volume) => `      - ${volume}\n`).join('')}    pids_limit: ${processes}
    ulimits:
      nofile: {soft: ${openFiles}, hard: ${openFiles}}
${pairs(env).length > 0 ? `    environment: ${JSON.stringify(pairs(env))}\n` : ''}`
}

const pairs = (env: K3sContainer['env']) => Object.entries(env).map(([name, value]) => `${name}=${value}`)

/**
 * Its host name is an argument, since Quadlet knows no key for it before Podman 4.6 and takes no unit with a key that it does not know.
 * A label of SELinux on what it mounts would shut the host out, and K3s labels its own containers' files itself. Quadlet's containers are in the cgroup of
 * their unit, whose own limit of tasks counts too.
 */
function quadlet({ role, name, image, hostname, alone, env }: K3sContainer, startMark?: string): string {
  return `[Unit]
Description=Lightweight Kubernetes (K3s) in a container
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
${startMark ? `ConditionPathExists=${startMark}\n` : ''}
[Container]
ContainerName=${name}
Image=${image}
Exec=${commandOf(role).join(' ')}
${alone ? `PublishPort=${api}` : 'Network=host'}
PodmanArgs=--privileged ${alone ? `--hostname ${hostname} ` : ''}--pids-limit=${processes} --ulimit nofile=${openFiles}:${openFiles}
SecurityLabelDisable=true
${settings('Tmpfs', tmpfs)}${settings('Volume', mounts.podman)}${settings('Environment', pairs(env))}
[Service]
TasksMax=infinity
${modules}${makeResolved}Restart=always
RestartSec=5
TimeoutStartSec=infinity

[Install]
WantedBy=multi-user.target
`
}

const settings = (name: string, values: readonly string[]) => values.map((value) => `${name}=${value}\n`).join('')
