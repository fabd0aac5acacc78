import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { byIndexAlone } from '../../src/store/database.ts'
import { statements } from '../../src/store/enroll.ts'
import type { Connection } from './programs.ts'

const run = promisify(execFile)

/** Debian keeps it beside the server, whose package need not run for this. */
export function findPgbench(): string | undefined {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).map((version) => `${debian}/${version}/bin`) : []
  const folders = [...versions, ...(process.env.PATH ?? '').split(delimiter)]
  return folders.map((folder) => join(folder, 'pgbench')).find(existsSync)
}

/**
 * The two statements of an enrolment, one claim each, as prepared statements: select, then write what was selected.
 * @param documentBytes size of the sealed document, as the server wrote it
 * @returns transactions a second
 */
export async function pgbench(
  program: string,
  connection: Connection,
  options: { clients: number; perClient: number; documentBytes: number },
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'rollcall-pgbench-'))
  try {
    const script = join(folder, 'enrol.sql')
    writeFileSync(script, scriptFor(options.clients))
    const input = JSON.stringify([enrollment(options.documentBytes)])
    const flags = ['-n', '-M', 'prepared', '-j', '2', '-c', `${options.clients}`, '-t', `${options.perClient}`]
    const { host, port, user, database, password } = connection as Connection & { user: string; database: string }
    const ssl = host.startsWith('/') ? {} : { PGSSLMODE: 'require' }
    const { stdout } = await run(program, [...flags, '-D', 'i=-1', '-D', `input=${input}`, '-f', script], {
      env: {
        PGHOST: host,
        PGPORT: `${port}`,
        PGUSER: user,
        PGDATABASE: database,
        PGPASSWORD: password,
        PGOPTIONS: planner,
        ...ssl,
      },
    })
    const failed = Number(/failed transactions: (\d+)/.exec(stdout)?.[1] ?? 0)
    if (failed > 0) throw new Error(`pgbench failed ${failed} transactions`)
    return Number(/tps = ([\d.]+)/.exec(stdout)?.[1])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

// As the server's own sessions.
const planner = Object.entries(byIndexAlone)
  .map(([name, value]) => `-c ${name}=${value}`)
  .join(' ')

// `@n` device, `@v` its version, `@u` a number that no other enrolment has: what differs from claim to claim.
const scriptFor = (clients: number) => `
\\set i :i + 1
\\set n :i * ${clients} + :client_id
\\set u random(1000000000000000000, 9000000000000000000)
${statements.select
  .replace('$1::text[]', "array['bench-' || (:n)::text]")
  .replace('$2::text[]', "array[repeat('0', 64)]")
  .replace('$3::text[]', "array['nonce-' || (:u)::text]")}
\\gset r_
${statements.write
  .replace('$2::text::json', "'[]'::json")
  .replace(
    '$1::text::json',
    "replace(replace(replace((:input)::text, '@u', (:u)::text), '@n', (:n)::text), '@v', (:r_device_version)::text)::json",
  )};
`

function enrollment(documentBytes: number) {
  // 64 hex digits once `@u`, which is 19 digits long, stands in it.
  const hash = (tag: string) => `${'0'.repeat(44)}${tag}@u`
  return {
    n: 0,
    device_id: 'dev_bench_@n',
    device_version: '@v',
    enrollment_id: 'enr_@u',
    cluster_id: 'clu_bench_0',
    profile_id: 'prf_bench',
    profile_revision: 1,
    role: 'agent',
    hostname: 'bench-@n',
    assurance: 'key',
    thumbprint: 'A'.repeat(43),
    claim_hash: hash('1'),
    nonce: 'nonce-@u'.padEnd(48, '-'),
    at: 1_795_396_247,
    document_type: 'text/cloud-config',
    document_digest: 'ab'.repeat(32),
    document_sealed: Buffer.alloc(documentBytes, 'x').toString('base64'),
    document_shared: '00'.repeat(32),
    join_hash: hash('2'),
    join_sealed: Buffer.alloc(120, 'x').toString('base64'),
    join_expires_at: 1_795_399_847,
    join_token_id: '@u',
    task_id: 'tsk_@u',
    task_sealed: Buffer.alloc(60, 'x').toString('base64'),
    report_hash: hash('3'),
    report_expires_at: 1_797_988_247,
    node_hash: null,
    sole_server_of: null,
    resets_cluster: false,
    ends: null,
    events: [
      { name: 'enrolled', detail: { cluster: 'bench', role: 'agent', profile: 'edge', thumbprint: 'A'.repeat(43) } },
    ],
  }
}
