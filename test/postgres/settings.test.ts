import * as assert from 'uvu/assert'
import { fits, hbaConf, portIn, postgresqlConf } from '../../src/postgres/settings.ts'
import { suite } from '../suite.ts'

const test = suite('settings of the embedded PostgreSQL')

test('are written whole', () => {
  const conf = postgresqlConf({
    listen: '127.0.0.1',
    port: 5433,
    sockets: "/srv/o'hara",
    memory: 2 * 2 ** 30,
    extra: { fsync: 'off' },
  })
  assert.is(
    conf,
    `# Written by Rollcall at each start. Your own settings belong into custom.conf, beside this file.
listen_addresses = '127.0.0.1'
port = '5433'
unix_socket_directories = '/srv/o''hara'
max_connections = '400'
shared_buffers = '256MB'
dynamic_shared_memory_type = 'mmap'
password_encryption = 'scram-sha-256'
ssl = 'on'
ssl_cert_file = 'rollcall.crt'
ssl_key_file = 'rollcall.key'
ssl_min_protocol_version = 'TLSv1.2'
logging_collector = 'on'
log_filename = 'postgres-%a.log'
log_file_mode = '0600'
log_truncate_on_rotation = 'on'
log_rotation_age = '1d'
log_timezone = 'UTC'
timezone = 'UTC'
fsync = 'off'
include_if_exists = 'custom.conf'
`,
  )
})

test('say where it listened before, but for those that initdb wrote', () => {
  const conf = postgresqlConf({ listen: '', port: 5433, sockets: '/srv', memory: 0, extra: {} })
  assert.is(portIn(conf), 5433)
  assert.is(portIn('#port = 5432\t\t# (change requires restart)\n'), undefined)
})

test('give PostgreSQL an eighth of the memory, within bounds', () => {
  const given = (memory: number) =>
    /^shared_buffers = '(.*)'$/m.exec(postgresqlConf({ listen: '', port: 5432, sockets: '/run', memory }))?.[1]
  assert.is(given(512 * 2 ** 20), '128MB')
  assert.is(given(3 * 2 ** 30 + 1), '384MB')
  assert.is(given(64 * 2 ** 30), '1024MB')
})

test('have no Unix socket where its path would be cut off', () => {
  const long = `/${'x'.repeat(100)}`
  assert.is(fits(long, 5432), false)
  assert.is(fits('/run/rollcall', 5432), true)
  assert.match(
    postgresqlConf({ listen: '127.0.0.1', port: 5432, sockets: long, memory: 0 }),
    /^unix_socket_directories = ''$/m,
  )
})

test('let nobody in without a password, and nobody from the network without TLS or as superuser', () => {
  const rules = hbaConf()
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const words = rules.map((rule) => rule.split(/\s+/))
  assert.equal(
    words.map((rule) => rule.at(-1)),
    ['scram-sha-256', 'scram-sha-256', 'scram-sha-256', 'reject', 'scram-sha-256'],
  )
  assert.equal(
    words.filter((rule) => rule[0] === 'host').map((rule) => rule.at(-1)),
    ['reject'],
  )
})

test('let nodes into their database alone, and of their group not the one that owns it', () => {
  const door = {
    database: 'clusters',
    group: 'nodes',
    never: ['roll', 'reader'],
    networks: ['10.20.0.0/16', 'fd00::/8'],
  }
  assert.is(
    hbaConf(door),
    `# Written by Rollcall at each start.
local    all  all                      scram-sha-256
hostssl  all  all       127.0.0.1/32   scram-sha-256
hostssl  all  all       ::1/128        scram-sha-256
host     all  postgres,roll,reader  all  reject
hostssl  clusters  +nodes  samehost  scram-sha-256
hostssl  clusters  +nodes  10.20.0.0/16  scram-sha-256
hostssl  clusters  +nodes  fd00::/8  scram-sha-256
`,
  )
})
