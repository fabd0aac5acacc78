/** How one embedded PostgreSQL is to run. */
export type Settings = {
  /** Comma-separated addresses for TCP, which is TLS only */
  listen: string
  port: number
  /** Directory of the Unix socket */
  sockets: string
  /** Bytes that the machine has, or this container may have */
  memory: number
  /** Further settings; they win. */
  extra?: Record<string, string>
}

/** The whole of postgresql.conf; written anew at each start, so that an upgrade of Rollcall reaches it. */
export function postgresqlConf({ listen, port, sockets, memory, extra = {} }: Settings): string {
  const settings: Record<string, string> = {
    listen_addresses: listen,
    port: String(port),
    unix_socket_directories: fits(sockets, port) ? sockets : '',
    max_connections: '400',
    shared_buffers: `${sharedMegabytes(memory)}MB`,
    // Files in PGDATA: /dev/shm is 64 MB in containers, and systemd-logind empties it of an account's segments at its logout (RemoveIPC).
    dynamic_shared_memory_type: 'mmap',
    password_encryption: 'scram-sha-256',
    ssl: 'on',
    ssl_cert_file: 'rollcall.crt',
    ssl_key_file: 'rollcall.key',
    ssl_min_protocol_version: 'TLSv1.2',
    logging_collector: 'on',
    log_filename: 'postgres-%a.log',
    log_file_mode: '0600',
    log_truncate_on_rotation: 'on',
    log_rotation_age: '1d',
    log_timezone: 'UTC',
    timezone: 'UTC',
    ...extra,
  }
  const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`)
  return [
    '# Written by Rollcall at each start. Your own settings belong into custom.conf, beside this file.',
    ...lines,
    "include_if_exists = 'custom.conf'",
    '',
  ].join('\n')
}

/** The port of a postgresql.conf that we wrote; undefined: initdb's own. */
export const portIn = (conf: string): number | undefined => Number(/^port = '(\d+)'$/m.exec(conf)?.[1]) || undefined

/**
 * An eighth of the memory, where PostgreSQL's documentation gives a quarter to a machine that does nothing else. Its own 128 MB at least: what 1,000 clusters
 * write and the observer reads does not fit into those, and to read it again and again cost a quarter more CPU. Memory is taken as data fill it.
 */
const sharedMegabytes = (memory: number): number => Math.max(128, Math.min(1_024, Math.floor(memory / 8 / 1_048_576)))

/** Whom the network lets in, and where to: nobody else then. */
export type Door = {
  database: string
  /** Its members may come in, by password and over TLS */
  group: string
  /** Members that may not: who owns the group's roles is one of them as well */
  never: readonly string[]
  /** Where from: `all` or CIDRs; this machine's own addresses always */
  networks: readonly string[]
}

/** The whole of pg_hba.conf: passwords always, TLS over the network, and the superuser only from this machine. */
export function hbaConf(door?: Door): string {
  const network = door
    ? [
        `host     all  ${['postgres', ...door.never].join(',')}  all  reject`,
        ...['samehost', ...door.networks].map(
          (from) => `hostssl  ${door.database}  +${door.group}  ${from}  scram-sha-256`,
        ),
      ]
    : ['host     all  postgres  all            reject', 'hostssl  all  all       all            scram-sha-256']
  const local = [
    '# Written by Rollcall at each start.',
    'local    all  all                      scram-sha-256',
    'hostssl  all  all       127.0.0.1/32   scram-sha-256',
    'hostssl  all  all       ::1/128        scram-sha-256',
  ]
  return `${[...local, ...network].join('\n')}\n`
}

/** Whether the socket's path fits into `sockaddr_un` (108 bytes on Linux, 104 on macOS, with the final NUL). */
export function fits(sockets: string, port: number): boolean {
  return Buffer.byteLength(`${sockets}/.s.PGSQL.${port}`) < (process.platform === 'linux' ? 108 : 104)
}
