import { createHash, X509Certificate } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import * as assert from 'uvu/assert'
import { DeviceServer } from '../fakes/device-server.ts'
import { type Running, shells, template, until } from './box.ts'
import { certificate, Node, nodeLine } from './node.ts'
import { suiteUnder } from './under.ts'

const script = template('rollcall-node.sh')
const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
const task = (n: number) => `tsk_${String(n).padStart(26, '0')}`
const create = (n: number, secret = '0123456789abcdef') =>
  `${task(n)} token-create ${String(n).padStart(6, 'a')} ${secret} 1800000000`

const secretOf = (id: string, secret: string) => `---
apiVersion: v1
kind: Secret
metadata: {name: "bootstrap-token-${id}", namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData: {token-id: "${id}", token-secret: "${secret}",
  expiration: "2027-01-15T08:00:00Z", usage-bootstrap-authentication: "true"}
`

for (const [name, shell] of shells) {
  const { test, once } = suiteUnder(name, 'rollcall-node tasks', { timeout: 120_000 })
  let server: DeviceServer
  let node: Node
  let running: Running | undefined

  test.before.each(async () => {
    server = await DeviceServer.start()
    node = new Node(server)
    node.document('server')
    node.command('k3s-of-this-box', '')
    node.write('usr/bin/k3s', server.downloads.get('/assets/k3s')?.toString() ?? '', 0o755)
    node.env.ROLLCALL_LOOK = '0'
  })
  test.after.each(async () => {
    await running?.kill()
    running = undefined
    node.remove()
    await server.close()
  })

  const start = () => {
    running = node.start(shell, script, 'tasks')
    return running
  }
  const answered = async (count: number) => {
    start()
    await until(() => server.results.length >= count)
    return server.results
  }
  const told = () => (existsSync(node.path('told')) ? node.read('told') : '')

  once('ends without a credential', async () => {
    node.variables('etc/rollcall/node.env', {
      ROLLCALL_URL: server.url,
      ROLLCALL_PIN: server.pin,
      ROLLCALL_REPORT: server.reportUrl,
    })
    const { code, stderr } = await node.run(shell, script, 'tasks')
    assert.is(code, 1)
    assert.match(stderr, 'no credential')
  })

  test('runs nothing that is not a task to the letter, and says so where it knows which', async () => {
    const bad = [
      `${task(1)} token-create abcdef 0123456789abcde 1800000000`,
      `${task(2)} token-create ABCDEF 0123456789abcdef 1800000000`,
      `${task(3)} token-create abcdef 0123456789abcdef 1800000000 more`,
      `${task(4)} token-create abcdef 0123456789abcdef -1`,
      `${task(5)} token-create abcdef 0123456789abcdef`,
      `${task(6)} token-delete abc`,
      `${task(7)} node-delete Node`,
      `${task(8)} node-delete a.b`,
      `${task(9)} node-delete ../../x`,
      `${task(10)} node-ban -a`,
      `${task(11)} node-ban ${'a'.repeat(64)}`,
      `${task(12)} node-delete $(id)`,
      `${task(13)} reboot`,
      `${task(14)}`,
      `${task(15)} token-create  abcdef 0123456789abcdef 1800000000`,
      'tsk_x token-delete abcdef',
      '$(touch "$BOX/owned") `touch "$BOX/owned"`',
    ]
    server.tasks = [...bad, `${task(16)} token-delete abcdef`]
    await answered(16)
    assert.equal(server.results.slice(0, 16), [
      ...Array.from({ length: 15 }, (_, n) => `${task(n + 1)} fail not understood`),
      `${task(16)} ok`,
    ])
    assert.is(told().split('kind:').length, 2)
    assert.not(existsSync(node.path('owned')))
  })

  once('401: says so once, and asks seldom', async () => {
    server.credential = 'another'
    const { stderr } = start()
    await until(() => server.requests('/v1/tasks?wait=25').length >= 3)
    assert.is(stderr().split('credential_invalid').length, 2)
    assert.ok(node.sleeps().every((seconds) => seconds >= 600 && seconds <= 752))
  })

  test('a server that is away is asked less and less, but within five minutes', async () => {
    node.variables('etc/rollcall/node.env', {
      ROLLCALL_URL: 'https://127.0.0.1:9',
      ROLLCALL_PIN: server.pin,
      ROLLCALL_REPORT: server.reportUrl,
      ROLLCALL_NODE: server.credential,
    })
    start()
    await until(() => existsSync(node.path('sleeps')) && node.sleeps().length >= 9)
    const least = [5, 10, 20, 40, 80, 160, 320, 320, 320]
    for (const [n, seconds] of node.sleeps().slice(0, 9).entries()) {
      const floor = least[n] as number
      assert.ok(seconds >= floor && seconds <= floor * 1.25 + 1, `${n}: ${seconds}`)
    }
  })

  once('503: waits, then goes on where it was', async () => {
    server.plan('/v1/tasks?wait=25', { status: 503, body: 'busy' }, { status: 503, body: 'busy' })
    server.tasks = [create(1)]
    assert.equal(await answered(1), [`${task(1)} ok`])
  })

  once('a cluster that is down: its tasks are not answered, and run when it is back', async () => {
    node.write('down', '')
    server.tasks = [create(1)]
    const { stderr } = start()
    await until(() => existsSync(node.path('sleeps')) && node.sleeps().length >= 4)
    assert.is(stderr().split('was refused').length, 2)
    assert.ok(node.sleeps().every((seconds) => seconds >= 20))
    assert.equal([server.results, server.requests('/v1/tasks?wait=25')], [[], []])
    node.delete('down')
    await until(() => server.results.length === 1)
  })

  once('a cluster that goes down under a batch: what it did not run is not answered', async () => {
    server.tasks = [create(1), `${task(2)} node-delete sn-0002`]
    // Looks up, then is gone.
    node.write(
      'usr/bin/k3s',
      `#!/bin/sh\ncase "$*" in *'get nodes'*) cat "$BOX/nodes" ;; *'get pods'*) ;; *) exit 1 ;; esac\n`,
      0o755,
    )
    start()
    await until(() => existsSync(node.path('sleeps')) && node.sleeps().length >= 3)
    assert.equal(server.results, [])
  })

  once('a token becomes a Secret of usage authentication, with its end', async () => {
    server.tasks = [`${task(1)} token-create 0a1b2c 00000000000000e1 1800000000`]
    await answered(1)
    assert.is(told(), `## apply\n${secretOf('0a1b2c', '00000000000000e1')}`)
  })

  test('a hundred tokens are one apply, and a hundred deletions one delete', async () => {
    const ids = Array.from({ length: 100 }, (_, n) => n)
    server.tasks = [
      ...ids.map((n) => create(n)),
      ...ids.map((n) => `${task(200 + n)} token-delete ${String(n).padStart(6, 'a')}`),
    ]
    const results = await answered(200)
    assert.ok(results.every((line) => line.endsWith(' ok')))
    assert.equal(told().match(/^## .*/gm), ['## apply', '## delete'])
    assert.is(told().split('kind: Secret').length, 201)
  })

  test('what comes in turn is run in turn', async () => {
    server.tasks = [create(1), `${task(2)} token-delete aaaaa1`, create(3), `${task(4)} node-delete sn-0002`]
    await answered(4)
    assert.equal(told().match(/^(## .*|kind: .*)/gm), [
      '## apply',
      'kind: Secret',
      '## delete',
      'kind: Secret',
      '## apply',
      'kind: Secret',
      '## delete',
      'kind: Node',
    ])
  })

  test('one that the cluster refuses fails alone, with a reason that holds no secret', async () => {
    server.tasks = [create(1), create(2, 'fedcba9876543210'), create(3)]
    node.write('refuse', 'fedcba9876543210')
    assert.equal(await answered(3), [`${task(1)} ok`, `${task(2)} fail the cluster refused it`, `${task(3)} ok`])
    server.tasks = [`${task(5)} node-delete sn-0002`]
    node.write('refuse', 'sn-0002')
    await until(() => server.results.length === 4)
    assert.is(server.results[3], `${task(5)} fail error: it holds sn-0002`)
  })

  once('no secret is an argument, nor said', async () => {
    server.tasks = [create(1), `${task(2)} token-delete aaaaa2`]
    const { stderr } = start()
    await until(() => server.results.length === 2)
    for (const text of [node.read('k3s.args'), stderr()]) {
      assert.not(text.includes('0123456789abcdef'))
      assert.not(text.includes(server.credential))
    }
  })

  once('a ban keeps one name from writing, and no other', async () => {
    server.tasks = [`${task(1)} node-ban sn-0002`]
    await answered(1)
    assert.match(told(), `request.userInfo.username == 'system:node:sn-0002'`)
    assert.equal(told().match(/^kind: .*/gm), [
      'kind: ValidatingAdmissionPolicy',
      'kind: ValidatingAdmissionPolicyBinding',
    ])
  })

  test('tells the hash of the CA, the Nodes and the pods; again when they change', async () => {
    node.write('nodes', nodeLine('sn-0001') + nodeLine('sn-0002', 'null', '""'))
    node.write('pods', 'pod/a\npod/b\n')
    start()
    await until(() => server.sightings.length === 1)
    assert.equal(server.sightings[0], {
      ca_hash: sha256(certificate),
      nodes: [
        { name: 'sn-0001', ready: true, version: 'v1.36.3+k3s1' },
        { name: 'sn-0002', ready: null, version: '' },
      ],
      pods_not_running: 2,
    })
    await until(() => server.requests('/v1/tasks?wait=25').length >= 3)
    assert.is(server.sightings.length, 1)
    node.write('nodes', nodeLine('sn-0001', 'false'))
    await until(() => server.sightings.length === 2)
    assert.equal(server.sightings[1]?.nodes, [{ name: 'sn-0001', ready: false, version: 'v1.36.3+k3s1' }])
  })

  once('tells it again when the server was away', async () => {
    server.plan('/v1/nodes', { status: 503, body: 'busy' }, { fault: 'lost' })
    start()
    await until(() => server.sightings.length === 2)
  })

  once('a cluster without Nodes is told as one', async () => {
    node.write('nodes', '')
    start()
    await until(() => server.sightings.length === 1)
    assert.equal(server.sightings[0]?.nodes, [])
  })

  test('a version that a kubelet made up tells nothing of other Nodes', async () => {
    const versions = [
      '"v1\\n{\\"name\\":\\"sn-0009\\",\\"ready\\":true,\\"version\\":\\"v1\\"}"',
      '"a b"',
      '%!q(<nil>)',
      '',
    ]
    node.write('nodes', versions.map((version, n) => nodeLine(`n${n}`, 'true', version)).join(''))
    start()
    await until(() => server.sightings.length === 1)
    assert.equal(
      server.sightings[0]?.nodes,
      versions.map((_, n) => ({ name: `n${n}`, ready: true, version: '' })),
    )
  })

  test("of a bundle the hash is that of its root's DER", async () => {
    const { stdout } = await node.run(
      ['sh'],
      '-c',
      [
        'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key -subj /CN=root -out root 2>/dev/null && cat root',
      ].join(''),
    )
    node.write('data/server/tls/server-ca.crt', `${certificate}${stdout}`)
    start()
    await until(() => server.sightings.length === 1)
    assert.is(server.sightings[0]?.ca_hash, sha256(new X509Certificate(stdout).raw))
  })

  once(
    'what the roll gives it for its cluster is put where K3s finds it, for root alone, and is not asked for again',
    async () => {
      server.manifests = 'kind: Namespace\n'
      server.plan('/v1/manifests', { status: 503, body: 'busy' })
      start()
      await until(() => server.requests('/v1/tasks?wait=25').length >= 4)
      const file = 'data/server/manifests/rollcall.yaml'
      assert.is(node.read(file), 'kind: Namespace\n')
      assert.is(statSync(node.path(file)).mode & 0o777, 0o600)
      assert.is(server.requests('/v1/manifests').length, 2)
    },
  )

  once('a server that is given none does not ask at each poll', async () => {
    start()
    await until(() => server.requests('/v1/tasks?wait=25').length >= 4)
    assert.is(server.requests('/v1/manifests').length, 1)
  })

  once('the kubeconfig leaves the node when the server asks for it, and then once', async () => {
    node.write('etc/rancher/k3s/k3s.yaml', 'apiVersion: v1\n', 0o600)
    start()
    await until(() => server.requests('/v1/tasks?wait=25').length >= 2)
    assert.is(server.requests('/v1/kubeconfig').length, 0)
    server.escrow = true
    node.write('nodes', nodeLine('sn-0002'))
    await until(() => server.kubeconfig !== undefined)
    assert.is(server.kubeconfig, 'apiVersion: v1\n')
    node.write('nodes', nodeLine('sn-0003'))
    await until(() => server.sightings.length === 3)
    assert.is(server.requests('/v1/kubeconfig').length, 1)
  })
}
