import type { Json, Role } from './profile.ts'

/**
 * All that a template can say: plain JSON, made by services/compose-document.ts for one device and one enrollment.
 * Secrets stand in `secret`, `k3s.files` and `k3s.registries` alone, so that previews and the stored redacted copy can tell them apart.
 */
export type DocumentInput = {
  device: { serial: string; hostname: string; labels: Record<string, string>; vars: Record<string, Json>; note: string }
  cluster: { name: string; version: string; api_endpoint: string }
  profile: { name: string; revision: number; packages: string[] }
  role: Role
  enrollment: { id: string }
  /** Profile vars, overridden by the device's. */
  vars: Record<string, Json>
  server: {
    url: string
    /** `sha256//…;sha256//…` for curl's --pinnedpubkey */
    pins: string
    /** PEM of our CA */
    ca: string
    /** What `aud` of a claim or of a redeem proof must say */
    audience: string
  }
  k3s: {
    /** Text of /etc/rancher/k3s/config.yaml, whole */
    config: string
    /** The unit that K3s runs as, without `.service`: k3s or k3s-agent */
    unit: string
    /** Agent: the K3s bootstrap token. Server: empty, since redeem writes the file. */
    token: string
    /** Further root-only files, e.g. the datastore's CA and client certificate, and `env` as a file. */
    files: { path: string; content: string }[]
    /** Where the cluster keeps its state: sqlite, embedded-etcd, … */
    datastore: string
    /** K3s' own environment on this node, e.g. KINE_DATASTORE_MAX_OPEN_CONNECTIONS; nothing secret, empty as a rule */
    env: Record<string, string>
    /** Archives of container images by architecture, for sites that reach no registry; empty as a rule */
    images: Archive[]
    /** Text of /etc/rancher/k3s/registries.yaml; empty: there is none */
    registries: string
    /** K3s' SELinux policy package by release of Enterprise Linux (el8, el9); empty: K3s' own repository has it */
    selinux: { release: string; url: string; sha256: string }[]
    /** What a node's firewall must let in (`6443/tcp`), and the networks of pods and services, which it must trust */
    firewall: { ports: string[]; networks: string[] }
    /**
     * Where K3s runs in a container (`vars.runtime`): its image, and what runs it, each whole: a shell command, compose.yaml, a Quadlet unit, and
     * systemd units that run it by Docker or Podman
     */
    container: {
      image: string
      docker_run: string
      compose: string
      quadlet: string
      docker_unit: string
      podman_unit: string
    } | null
    install: {
      /** What the installer stand-in sees: INSTALL_K3S_VERSION, INSTALL_K3S_EXEC, …; no secret */
      env: Record<string, string>
      script_url: string
      /** SHA-256 in hex, empty only where the cluster says allow_unpinned */
      script_sha256: string
      /** By architecture as K3s names it: amd64, arm64, arm */
      binaries: Archive[]
      /** The one for `vars.arch`, by default amd64: Ignition cannot choose on the machine */
      binary: Archive | null
    }
  }
  secret: {
    /** https://…/v1/report/… */
    report_url: string
    /** Server: the ticket for /v1/join. Agent: empty. */
    join: string
    /** Server: the node credential. Agent: empty. */
    node: string
    node_password: string
  }
}

/** A file that a node fetches. `arch` as K3s names it: amd64, arm64, arm. */
export type Archive = { arch: string; url: string; sha256: string }

/** Something wrong with a template or with what it rendered. `line` is 1-based in the template's source where known. */
export type LintProblem = { severity: 'error' | 'warning'; code: string; message: string; line?: number }
