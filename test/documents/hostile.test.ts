import { spawnSync } from 'node:child_process'
import { inflateRawSync } from 'node:zlib'
import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import YAML from 'yaml'
import { compileDocument } from '../../src/documents/compile.ts'
import type { DocumentInput } from '../../src/documents/input.ts'
import { type Builtin, roles } from '../../src/documents/profile.ts'
import { suite } from '../suite.ts'
import { hostile, nearlyTame } from './hostile.ts'
import { builtins, documents, partsOf, script, systems } from './parts.ts'
import { placeRoot } from './place.ts'
import { wholeRow } from './whole-row.ts'

/**
 * Every text that a document can be given, hostile, also where the schema of a profile or cluster would not let it be; what only Rollcall itself writes
 * (paths, units, roles, architectures) stays.
 */
const inputOf = (base: DocumentInput, text: fc.Arbitrary<string>) =>
  fc.array(text, { minLength: 70, maxLength: 70 }).map((texts): DocumentInput => {
    let next = 0
    const text = () => {
      if (next === texts.length) throw new Error('a document takes more texts than there are')
      return texts[next++] as string
    }
    const { k3s } = base
    return {
      ...base,
      cluster: { name: text(), version: text(), api_endpoint: text() },
      profile: { ...base.profile, name: text(), packages: [text(), text(), text()] },
      vars: { [`v${text()}`]: text(), deep: { [text()]: [text(), { [text()]: text() }] } },
      device: { serial: text(), hostname: `h${text()}`, labels: { l: text() }, vars: { v: text() }, note: text() },
      enrollment: { id: `e${text()}`.replace(/\n+$/, '') },
      server: { url: text(), pins: text(), ca: text(), audience: text() },
      k3s: {
        ...k3s,
        config: text(),
        token: k3s.token && `t${text()}`,
        files: k3s.files.map(({ path }) => ({ path, content: text() })),
        datastore: text(),
        images: [{ arch: 'amd64', url: text(), sha256: text() }],
        registries: `r${text()}`,
        selinux: [{ release: 'el9', url: text(), sha256: text() }],
        firewall: { ports: [text()], networks: [text(), text()] },
        install: {
          ...k3s.install,
          env: Object.fromEntries(Object.keys(k3s.install.env).map((key) => [key, text()])),
          script_url: text(),
          script_sha256: text(),
          binaries: k3s.install.binaries.map(({ arch }) => ({ arch, url: text(), sha256: text() })),
        },
      },
      secret: {
        report_url: `https://example.net/${encodeURIComponent(text())}`,
        join: text(),
        node: text(),
        node_password: text(),
      },
    }
  })

const lines = (text: string) => `${text.replace(/\n+$/, '')}\n`
const word = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

/** What the files of a document must hold, by path; the script apart. */
function expectedFiles(input: DocumentInput): Record<string, string> {
  const { k3s, secret, server } = input
  const env = { ROLLCALL_URL: server.url, ROLLCALL_PIN: server.pins, ROLLCALL_REPORT: secret.report_url }
  const join = input.role === 'server' ? { ROLLCALL_JOIN: secret.join, ROLLCALL_NODE: secret.node } : {}
  return {
    '/etc/rollcall/node.env': lines(
      Object.entries({ ...env, ...join })
        .map(([key, value]) => `${key}=${word(value)}`)
        .join('\n'),
    ),
    '/etc/rancher/k3s/config.yaml': lines(k3s.config),
    '/etc/rancher/node/password': lines(secret.node_password),
    ...(k3s.token ? { '/etc/rancher/k3s/token': lines(k3s.token) } : {}),
    '/etc/rancher/k3s/registries.yaml': lines(k3s.registries),
    ...Object.fromEntries(k3s.files.map(({ path, content }) => [path, lines(content)])),
  }
}

/** What the installer must read from install.env. */
function sourced({ cluster, device, enrollment, k3s, profile, role, server }: DocumentInput): Record<string, string> {
  const [image] = k3s.images
  return {
    ...k3s.install.env,
    ROLLCALL_ROLE: role,
    ROLLCALL_ENROLLMENT: enrollment.id,
    ROLLCALL_SERIAL: device.serial,
    ROLLCALL_AUDIENCE: server.audience,
    ROLLCALL_PACKAGES: profile.packages.join(' '),
    ROLLCALL_API: cluster.api_endpoint,
    ROLLCALL_DATASTORE: k3s.datastore,
    ROLLCALL_PORTS: k3s.firewall.ports.join(' '),
    ROLLCALL_NETWORKS: k3s.firewall.networks.join(' '),
    ROLLCALL_IMAGES: `${image?.arch}=${image?.sha256}=${image?.url} `,
  }
}

function shellWords(text: string, names: object): Record<string, string> {
  const wanted = Object.keys(names)
  const print = wanted.map((name) => `printf '%s\\0' "$${name}"`).join('\n')
  const { stdout } = spawnSync('sh', [], {
    input: `${text}\n${print}\n`,
    encoding: 'utf8',
    env: { PATH: '/usr/bin:/bin' },
  })
  const values = stdout.split('\0')
  return Object.fromEntries(wanted.map((name, n) => [name, values[n] as string]))
}

const test = suite('built-in documents with hostile values in every field', { timeout: 120_000 })

for (const system of systems) {
  for (const role of roles) {
    const template: Builtin = `builtin:${system}`
    const parts = partsOf(template, role)
    const document = compileDocument(parts.profile.spec, builtins)
    const inputs = inputOf(documents.input(parts), hostile)
    const likely = inputOf(documents.input(parts), nearlyTame)

    test(`${system}, ${role}: rendered through its skeleton, it is what rendering it whole gives`, () => {
      fc.assert(
        fc.property(inputs, (input) => {
          const whole = document.renderWhole(input)
          assert.is(document.render(input).body, whole.body)
        }),
        { numRuns: 200 },
      )
    })

    test(`${system}, ${role}: so it is with values that are hardly hostile, and its packed form is the same bytes`, () => {
      fc.assert(
        fc.property(likely, (input) => {
          const through = document.render(input)
          assert.is(through.body, document.renderWhole(input).body)
          assert.ok(inflateRawSync(wholeRow(through.packed())).equals(through.bytes))
        }),
        { numRuns: 200 },
      )
    })

    if (system === 'debian' || system === 'rocky') {
      test(`${system}, ${role}: reads back as YAML with the same members`, () => {
        fc.assert(
          fc.property(inputs, (input) => {
            const read = YAML.parse(document.render(input).body, { version: '1.1' })
            assert.equal(Object.keys(read), ['hostname', 'preserve_hostname', 'reporting', 'phone_home', 'bootcmd'])
            assert.is(read.hostname, input.device.hostname)
            assert.is(read.reporting.rollcall.endpoint, input.secret.report_url)
            assert.is(read.bootcmd.length, 1)
            assert.ok(read.bootcmd[0].includes(script))
          }),
          { numRuns: 200 },
        )
      })

      test(`${system}, ${role}: a shell places exactly the values`, () => {
        fc.assert(
          fc.property(inputs, (input) => {
            const box = placeRoot()
            const { status, stderr } = box.boot(document.render(input).body)
            assert.is(status, 0, stderr)
            const files = box.files()
            for (const [path, content] of Object.entries(expectedFiles(input)))
              assert.is(files[path]?.content.replace(/^# Rollcall's\n/, ''), content, path)
            assert.equal(shellWords(files['/etc/rollcall/install.env']?.content ?? '', sourced(input)), sourced(input))
            assert.is(files['/usr/local/sbin/rollcall-node']?.content, script)
            box.remove()
          }),
          { numRuns: 8, includeErrorInReport: true },
        )
      })
    } else {
      test(`${system}, ${role}: its files hold exactly the values`, () => {
        fc.assert(
          fc.property(inputs, (input) => {
            const { storage } = JSON.parse(document.render(input).body)
            const read = (path: string) => {
              const { source } = storage.files.find((file: { path: string }) => file.path === path).contents
              return Buffer.from(source.slice('data:;base64,'.length), 'base64').toString()
            }
            const { '/etc/rancher/k3s/config.yaml': config, ...others } = expectedFiles(input)
            assert.is(lines(read('/etc/rancher/k3s/config.yaml')), config)
            for (const [path, content] of Object.entries(others))
              assert.is(lines(read(path).replace(/^# Rollcall's\n/, '')), content, path)
            assert.is(read('/etc/hostname'), `${input.device.hostname}\n`)
            assert.equal(shellWords(read('/etc/rollcall/install.env'), sourced(input)), sourced(input))
          }),
          { numRuns: 200 },
        )
      })
    }
  }
}
