import { existsSync, readdirSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { caHash } from '../../src/k3s/ca-hash.ts'
import { leaseSeconds } from '../../src/k3s/gate.ts'
import { DeviceServer } from '../fakes/device-server.ts'
import { makeAuthority, makeLeaf, type Pair } from '../fakes/k3s/certificates.ts'
import { shells, template } from './box.ts'
import { Node, nodeLine } from './node.ts'
import { suiteUnder } from './under.ts'

const script = template('rollcall-node.sh')
const timeout = 120_000

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'rollcall-node redeems', { timeout })
  let server: DeviceServer
  let node: Node

  test.before.each(async () => {
    server = await DeviceServer.start()
    node = new Node(server)
    await node.key(shell)
    node.leave('k3s.join')
  })
  test.after.each(async () => {
    node.remove()
    await server.close()
  })

  const install = () => node.run(shell, script, 'install')
  const passes = async () => {
    const { code, stderr } = await install()
    assert.is(code, 0, stderr)
  }
  const told = () => server.reports.map(({ step, result }) => `${step} ${result}`)
  const detail = (step: string, result: string) =>
    server.reports.find((report) => report.step === step && report.result === result)?.detail ?? 'none'

  once('a ticket that ended: claims again where there is a client', async () => {
    node.document('server')
    node.command('rollcall-client', '#!/bin/sh\necho "$*" >"$BOX/client"\n')
    server.ticket = 'another-0123456789abcdef'
    assert.is((await install()).code, 1)
    assert.is(node.read('client'), 'apply\n')
    assert.match(detail('k3s.join', 'fail'), 'claiming again')
    assert.not(existsSync(node.path('active')))
  })

  once('a ticket that ended: says what to do where there is no client', async () => {
    node.document('server')
    server.ticket = 'another-0123456789abcdef'
    assert.is((await install()).code, 1)
    assert.match(server.reports.at(-1)?.detail ?? '', 'install it anew')
  })

  once('a proof that the server refuses is reported, and K3s not started', async () => {
    node.document('server', { ROLLCALL_AUDIENCE: 'https://elsewhere' })
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.join', 'fail'), '401 wrong_audience')
    assert.not(existsSync(node.path('etc/rancher/k3s/token')))
    assert.not(existsSync(node.path('active')))
  })

  test('an answer that is no token is not taken for one', async () => {
    node.document('server')
    for (const body of ['', 'x'.repeat(64), `${server.token}0`, '<html>']) {
      server.plan('/v1/join', { status: 200, body })
      assert.is((await install()).code, 1, body)
    }
    assert.not(existsSync(node.path('etc/rancher/k3s/token')))
  })

  test("takes an agent to ready with the token of its document, looking with the kubelet's certificate", async () => {
    node.document('agent')
    await passes()
    assert.is(server.requests('/v1/join').length, 0)
    assert.match(node.read('systemctl'), 'enable k3s-agent\n')
    assert.match(
      node.read('k3s.args'),
      `kubectl --kubeconfig ${node.path('data/agent/kubelet.kubeconfig')} get node sn-0001 `,
    )
    assert.not(node.read('systemctl').includes('rollcall-node'))
  })

  once('once ready, K3s on the host takes away the label of the container that it may have run in before', async () => {
    const unlabel = 'label node sn-0001 rollcall/runtime-\n'
    const image = 'docker.io/rancher/k3s:v1.36.3-k3s1'
    for (const [enrollment, role, onHost, more] of [
      ['enr_contained', 'agent', false, { ROLLCALL_SCRIPT_URL: '', ROLLCALL_CONTAINER: image }],
      ['enr_agent', 'agent', true, {}],
      ['enr_server', 'server', true, {}],
    ] as const) {
      server.enrollment = enrollment
      node.leave('k3s.join')
      node.document(role, more)
      node.write('k3s.args', '')
      await passes()
      const said = node.read('k3s.args')
      assert.is(said.includes(unlabel), onHost, enrollment)
      if (onHost) assert.ok(said.lastIndexOf('get node sn-0001') < said.indexOf(unlabel), enrollment)
    }
  })

  test('once ready, the ticket and the claimed document are gone; the node credential stays', async () => {
    node.document('server')
    node.write('run/user-data', 'secret')
    node.write('etc/cloud/cloud.cfg.d/98-rollcall-reporting.cfg', 'reporting: {}')
    await passes()
    assert.not(node.read('etc/rollcall/node.env').includes(server.ticket))
    assert.match(node.read('etc/rollcall/node.env'), 'ROLLCALL_NODE=')
    assert.equal(readdirSync(node.path('run')), ['clock'])
    assert.equal(readdirSync(node.path('etc/cloud/cloud.cfg.d')), [])
  })

  test('503 cluster_not_ready: says so once, waits as told, then goes on', async () => {
    node.document('server')
    const wait = { status: 503, headers: { 'Retry-After': '15' }, body: 'cluster_not_ready: another server goes first' }
    server.plan('/v1/join', wait, wait, wait)
    await passes()
    const waiting = server.reports.filter((report) => report.detail?.includes('another server goes first'))
    assert.equal(
      waiting.map(({ step, result }) => `${step} ${result}`),
      ['k3s.join start'],
    )
    assert.is(node.sleeps().filter((seconds) => seconds >= 15 && seconds <= 19).length, 3)
  })

  once('503 after K3s was started: its turn passed on, and K3s is stopped', async () => {
    node.document('server')
    node.write('state/steps/enr_test/started', '')
    node.write('state/steps/enr_test/redeemed', '')
    server.plan('/v1/join', { status: 503, headers: { 'Retry-After': '15' }, body: 'cluster_not_ready: fenced' })
    await passes()
    const said = node.read('systemctl')
    assert.ok(said.indexOf('stop k3s\n') !== -1 && said.indexOf('stop k3s\n') < said.indexOf('restart k3s\n'))
  })

  once('K3s in a container: has joined when it answers, and redeems again until then', async () => {
    node.document('server', { ROLLCALL_SCRIPT_URL: '', ROLLCALL_CONTAINER: 'docker.io/rancher/k3s:v1.36.3-k3s1' })
    node.write('down', '')
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.join', 'fail'), 'k3s does not start')
    assert.not(told().includes('k3s.join ok'))
    // Its turn passed on meanwhile.
    server.plan('/v1/join', { status: 503, headers: { 'Retry-After': '15' }, body: 'cluster_not_ready: fenced' })
    assert.is((await install()).code, 1)
    assert.is(server.requests('/v1/join').length, 3)
    assert.match(node.read('systemctl'), /restart k3s\n.*\nstop k3s\n.*restart k3s\n/s)
    node.delete('down')
    await passes()
    assert.is(told().at(-1), 'k3s.ready ok')
  })

  once('503 of a roll that is away for a moment: K3s, which is starting, is left alone', async () => {
    node.document('server')
    node.write('state/steps/enr_test/started', '')
    node.write('state/steps/enr_test/redeemed', '')
    const away = ['shutting_down', 'busy', 'datastore_unavailable']
    server.plan('/v1/join', ...away.map((body) => ({ status: 503, headers: { 'Retry-After': '15' }, body })))
    await passes()
    assert.is(server.requests('/v1/join').length, 4)
    assert.not.match(node.read('systemctl'), /\bstop k3s\b/)
  })

  once('a K3s that starts slowly: it asks again long before its turn ends, and does not begin anew', async () => {
    node.document('server')
    node.command(
      'systemctl',
      '#!/bin/sh\necho "$*" >>"$BOX/systemctl"\ncase "$*" in *is-active* | *is-failed*) exit 3 ;; esac\n',
    )
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.join', 'fail'), 'k3s does not start')
    assert.is((await install()).code, 1)
    assert.is(server.verified.filter(({ typ }) => typ === 'ztp-join+jwt').length, 2)
    // systemd adds RestartSec=15.
    assert.ok(node.sleeps().reduce((sum, seconds) => sum + seconds, 0) / 2 + 15 < leaseSeconds / 3)
    assert.equal(node.read('systemctl').match(/\b(re)?start k3s$/gm), ['restart k3s', 'start k3s'])
  })

  once('a K3s that ends again and again: says so at its eighth end, and counts anew after that', async () => {
    node.document('server')
    node.command(
      'systemctl',
      `#!/bin/sh
case "$*" in
  reset-failed*) echo 0 >"$BOX/ends" ;;
  show*NRestarts*) read -r ends <"$BOX/ends"; echo $((ends + 1)) >"$BOX/ends"; echo "NRestarts=$((ends + 1))" ;;
  *is-active* | *is-failed*) exit 3 ;;
esac
`,
    )
    for (let round = 0; round < 2; round++) {
      assert.is((await install()).code, 1)
      assert.match(detail('k3s.join', 'fail'), 'k3s does not start')
      assert.is(node.read('ends'), '8\n')
    }
  })

  once('a K3s that systemd gave up: says so at once', async () => {
    node.document('server')
    node.command('systemctl', '#!/bin/sh\ncase "$*" in *is-active*) exit 3 ;; *is-failed*) exit 0 ;; esac\n')
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.join', 'fail'), 'k3s does not start')
    assert.not(node.sleeps().includes(1), 'it does not look again')
  })

  const fatal = (message: string) => `time="2026-11-28T22:52:58Z" level=fatal msg="${message}"\n`
  const journal = (text: string) => {
    node.command(
      'systemctl',
      '#!/bin/sh\ncase "$*" in show*) echo Result=exit-code ;; esac\n! echo "$*" | grep -Eq "is-(active|failed)"\n',
    )
    node.write('journal', text)
    node.command('journalctl', '#!/bin/sh\necho "$*" >"$BOX/journalctl"\ncat "$BOX/journal"\n')
  }
  const reasonOf = async (text: string) => {
    journal(text)
    assert.is((await install()).code, 1)
    const last = server.reports.at(-1)
    assert.equal([last?.step, last?.result], ['k3s.join', 'fail'])
    const [, reason] = /^k3s(?:-agent)? does not start \(Result=exit-code \): (.*)$/.exec(last?.detail ?? '') ?? []
    return reason ?? last?.detail
  }

  test('a K3s that does not start: says why, in its last words', async () => {
    node.document('server')
    const why =
      "starting kubernetes: creating storage endpoint: failed SASL auth: FATAL: password authentication failed for user 'k3s_a' (SQLSTATE 28P01)"
    const noise = 'time="2026-11-28T22:53:03Z" level=error msg="Remotedialer proxy error"\nStopping k3s.service\n'
    assert.is(
      await reasonOf(`time="x" level=info msg="Starting k3s"\n${fatal('older')}${fatal(why)}${noise}`),
      `"${why}"`,
    )
    assert.match(node.read('journalctl'), /^-u k3s --since -5min .*-o cat$/m)
    const ca =
      'time="2026-11-28T22:53:03Z" level=error msg="tls: failed to verify certificate: x509: certificate signed by unknown authority"\n'
    assert.match((await reasonOf(ca)) ?? '', 'certificate signed by unknown authority')
    assert.is(
      await reasonOf('panic: runtime error: index out of range\n\tgoroutine 1\n'),
      'panic: runtime error: index out of range',
    )
    assert.is(await reasonOf('level=info msg="waiting"\n'), 'see journalctl -u k3s')
    assert.is(await reasonOf(fatal('b\u00e4d "quote\\" \u001b[2J\u0000 end')), '"bd "quote\\" [2J end"')
    assert.is((await reasonOf(fatal('x'.repeat(5_000))))?.length, 300)
  })

  once('a K3s that does not start: nothing of what it says is a secret', async () => {
    node.document('server')
    node.write('etc/rancher/node/password', '0123456789abcdef0123456789abcdef')
    const masked: [endpoint: string, said: string, shown: string][] = [
      [
        'postgres://k3s_a:n1%25pw%2F@db:5432/a',
        'dial postgres://k3s_a:n1%25pw%2F@db:5432/a: refused',
        '"dial postgres://***@db:5432/a: refused"',
      ],
      ['postgres://k3s_a:n1@db/a', 'cannot parse `postgres://k3s_a:n1@b@db/a`', '"cannot parse `postgres://***@db/a`"'],
      [
        'mysql://k3s:p /@:w@tcp(db:3306)/a',
        'open k3s:p /@:w@tcp(db:3306)/a: refused',
        '"open ***@tcp(db:3306)/a: refused"',
      ],
      ['mysql://k3s:p /@:w@tcp(db:3306)/a', 'it is p /@:w, or not', 'its last words hold a secret'],
      [
        'mysql://k3s:n1-pw@tcp(db:3306)/a',
        "Error 1045: Access denied for user 'k3s'@'10.0.0.1'",
        `"Error 1045: Access denied for user 'k3s'@'10.0.0.1'"`,
      ],
      [
        'https://e1:2379,https://e2:2379',
        'node-password 0123456789abcdef0123456789abcdef',
        'its last words hold a secret',
      ],
      ['', `token ${server.token} is bad`, 'its last words hold a secret'],
      ['', `${'x'.repeat(290)} ${server.token}`, 'its last words hold a secret'],
    ]
    for (const [endpoint, said, shown] of masked) {
      const line = endpoint ? `datastore-endpoint: "${endpoint}"\n` : ''
      node.write('etc/rancher/k3s/config.yaml', `node-name: "sn-0001"\n${line}`, 0o600)
      assert.is(await reasonOf(fatal(said)), shown)
    }
    for (const { detail: text } of server.reports)
      assert.not.match(text ?? '', /p \/@:w|n1%25|0123456789abcdef{2}|[0-9a-f]{60}/)
  })

  once('an agent that does not start: its token is not told', async () => {
    node.document('agent')
    assert.is(await reasonOf(fatal('token abcdef.0123456789abcdef: 401')), 'its last words hold a secret')
  })

  const assertForgotten = () => {
    assert.not(existsSync(node.path('data/server')))
    assert.ok(existsSync(node.path('data/agent/images/k3s.tar.zst')))
    const said = node.read('systemctl')
    assert.ok(said.indexOf('stop k3s\n') !== -1 && said.indexOf('stop k3s\n') < said.indexOf('restart k3s\n'))
    const words = 'removed what K3s made here for a cluster that another server made: server'
    assert.ok(
      server.reports.some(({ detail }) => detail === words),
      JSON.stringify(server.reports),
    )
  }

  test('the cluster has another CA than the one that K3s made here: that is removed before it starts', async () => {
    node.document('server')
    server.caHash = '0'.repeat(64)
    node.write('state/steps/enr_test/started', '')
    node.write('data/agent/images/k3s.tar.zst', 'x')
    await passes()
    assertForgotten()
  })

  test('K3s took the CA of its cluster, but serves with a certificate of another: likewise', async () => {
    const { ca, served, other } = await authorities()
    node.document('server')
    server.caHash = caHash(Buffer.from(ca))
    node.write('state/steps/enr_test/started', '')
    node.write('data/server/tls/server-ca.crt', ca)
    node.write('data/server/tls/dynamic-cert.json', served(other))
    node.write('data/agent/images/k3s.tar.zst', 'x')
    await passes()
    assertForgotten()
  })

  once("what K3s made here stays if it is the cluster's", async () => {
    const { ca, served, own } = await authorities()
    node.document('server')
    server.caHash = caHash(Buffer.from(ca))
    node.write('data/server/tls/server-ca.crt', ca)
    node.write('data/server/tls/dynamic-cert.json', served(own))
    await passes()
    assert.is(node.read('data/server/tls/server-ca.crt'), ca)
  })

  for (const [start, line] of [
    ['init', 'cluster-init: "true"\n'],
    ['join', 'server: "https://k3s.example.net:6443"\n'],
  ] as const) {
    once(`embedded etcd: told to ${start}, it says so to K3s before it starts`, async () => {
      node.document('server', { ROLLCALL_DATASTORE: 'embedded-etcd', ROLLCALL_API: 'https://k3s.example.net:6443' })
      server.start = start
      await passes()
      assert.is(node.read('etc/rancher/k3s/config.yaml.d/50-rollcall.yaml'), line)
      assert.is(statSync(node.path('etc/rancher/k3s/config.yaml.d/50-rollcall.yaml')).mode & 0o777, 0o600)
    })
  }

  once('embedded etcd: not told how to start, it does not', async () => {
    node.document('server', { ROLLCALL_DATASTORE: 'embedded-etcd', ROLLCALL_API: 'https://k3s.example.net:6443' })
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.join', 'fail'), 'did not say how to start')
    assert.not(existsSync(node.path('active')))
  })

  once('other datastores take no such file, whatever is said', async () => {
    node.document('server', { ROLLCALL_DATASTORE: 'managed' })
    server.start = 'init'
    await passes()
    assert.not(existsSync(node.path('etc/rancher/k3s/config.yaml.d')))
  })

  once("the cluster's CA hash is told before the node counts as ready, and its service is started", async () => {
    node.document('server')
    await passes()
    const paths = server.seen.map(({ path, body }) =>
      path === server.reportUrl.slice(server.url.length) ? body : path,
    )
    const toldAt = paths.indexOf('/v1/nodes')
    const readyAt = paths.findIndex((one) => one.includes('"k3s.ready","result":"ok"'))
    assert.ok(toldAt !== -1 && toldAt < readyAt)
    assert.match(node.read('systemctl'), 'enable rollcall-node\n--no-block restart rollcall-node\n')
  })

  once('a server that takes no word of the cluster holds nothing up', async () => {
    node.document('server')
    server.plan('/v1/nodes', ...Array.from({ length: 50 }, () => ({ status: 503, body: 'busy' })))
    await passes()
    assert.is(told().at(-1), 'k3s.ready ok')
  })

  once('ready says what the cluster looks like', async () => {
    node.document('server')
    node.write('nodes', nodeLine('sn-0001') + nodeLine('sn-0002', 'false'))
    node.write('pods', 'pod/a\n')
    await passes()
    assert.is(detail('k3s.ready', 'ok'), 'nodes ready 1/2, pods not running 1')
    assert.is(detail('k3s.join', 'ok'), '')
  })

  once('ready says so too where no Node is listed yet', async () => {
    node.document('server')
    node.write('nodes', '')
    await passes()
    assert.is(detail('k3s.ready', 'ok'), 'nodes ready 0/0, pods not running 0')
  })

  once('a template older than the service: it is made, and left alone where there is one', async () => {
    const unit = 'etc/systemd/system/rollcall-node.service'
    node.document('server')
    await passes()
    assert.match(node.read(unit), `\nExecStart=${script} tasks\n`)
    assert.match(node.read('systemctl'), 'daemon-reload\nenable rollcall-node\n--no-block restart rollcall-node\n')
    node.write(unit, 'of the document')
    node.delete('state/steps/enr_test/k3s.join')
    node.delete('state/steps/enr_test/k3s.ready')
    node.document('server')
    await passes()
    assert.is(node.read(unit), 'of the document')
  })

  once('a template older than node credentials: it joins, and the timeline says what it lacks', async () => {
    node.document('server')
    node.write('etc/rollcall/node.env', node.read('etc/rollcall/node.env').replace(/^ROLLCALL_NODE=.*\n/m, ''))
    await passes()
    assert.match(detail('k3s.join', 'ok'), 'has no ROLLCALL_NODE: this server runs no tasks')
    assert.is(server.requests('/v1/nodes').length, 0)
    assert.not(node.read('systemctl').includes('enable rollcall-node'))
  })

  once('a template too old to name the datastore: embedded etcd begins as the server says, or not at all', async () => {
    const begins = 'etc/rancher/k3s/config.yaml.d/50-rollcall.yaml'
    node.document('server')
    server.start = 'join'
    assert.is((await install()).code, 1)
    assert.match(detail('k3s.join', 'fail'), 'does not say ROLLCALL_API')
    assert.not(existsSync(node.path('active')))
    server.start = 'init'
    await passes()
    assert.is(node.read(begins), 'cluster-init: "true"\n')
  })

  test('a lost answer to the proof is asked for again with the same bytes', async () => {
    node.document('server')
    server.plan('/v1/join', { fault: 'lost' }, { fault: 'half' })
    await passes()
    const proofs = server.requests('/v1/join').map(({ body }) => body)
    assert.is(proofs.length, 3)
    assert.is(new Set(proofs).size, 1)
  })

  once('an expired nonce is replaced by the one in the refusal', async () => {
    node.document('server')
    const nonce = server.freshNonce()
    server.plan('/v1/join', { status: 401, headers: { 'Rollcall-Nonce': nonce }, body: 'nonce_expired' })
    await passes()
    assert.is(server.verified.at(-1)?.payload.eat_nonce, nonce)
  })

  test('without a key of its own it redeems with one number that stays the same', async () => {
    node.document('server')
    node.delete('state/device.key')
    server.weak = true
    server.plan('/v1/join', { fault: 'lost' })
    await passes()
    assert.is(new Set(server.retryKeys).size, 1)
    assert.match(server.retryKeys[0] ?? '', /^[0-9a-f]{32}$/)
  })

  once('a server that joined before the power went is not made to claim again', async () => {
    node.document('server')
    node.write('state/steps/enr_test/redeemed', '')
    node.write('etc/rancher/k3s/token', `${server.token}\n`, 0o600)
    server.ticket = 'another-0123456789abcdef'
    await passes()
    assert.is(told().at(-1), 'k3s.ready ok')
  })
}

/** K3s' CA, and certificates that it may serve with, as it keeps them (rancher/dynamiclistener). */
async function authorities() {
  const [ca, another] = [await makeAuthority('k3s-server-ca'), await makeAuthority('k3s-server-ca')]
  const leafOf = async (authority: Pair) =>
    (await makeLeaf(authority, { user: 'k3s', groups: ['k3s'] }, { server: true })).certificate + authority.certificate
  const served = (certificate: string) =>
    JSON.stringify({ kind: 'Secret', data: { 'tls.crt': Buffer.from(certificate).toString('base64'), 'tls.key': '' } })
  return { ca: ca.certificate, own: await leafOf(ca), other: await leafOf(another), served }
}
