import * as fc from 'fast-check'
import * as assert from 'uvu/assert'
import { readReport, steps } from '../../src/roll/report.ts'
import { suite } from '../suite.ts'

const test = suite('report')
const step = (name: string, result: string, detail?: unknown) => JSON.stringify({ step: name, result, detail })

test('refuses what is none of the three forms', () => {
  const none = [
    '',
    '{}',
    '[]',
    'null',
    '{"step":"k3s.ready"}',
    step('k3s.unknown', 'ok'),
    step('k3s.ready', 'done'),
    'a=b',
    '{"step":',
  ]
  for (const body of none) assert.is(readReport(body), undefined, body)
})

test('never throws and never keeps a control character', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      readReport(text)
      const report = readReport(step('k3s.install', 'fail', text))
      for (const kept of Object.values(report?.detail as object)) assert.not.match(String(kept), /\p{Cc}|\p{Cs}/u)
    }),
  )
})

test('takes document.applied as applied when it is ok, and every later step whatever its result', () => {
  const applied = steps.map((name) => ['start', 'ok', 'fail'].map((result) => readReport(step(name, result))?.applied))
  const [f, t] = [false, true]
  assert.equal(applied, [
    [f, f, f],
    [f, t, f],
    [t, t, t],
    [t, t, t],
    [t, t, t],
    [t, t, t],
    [t, t, t],
  ])
})

test('takes only k3s.ready ok as ready', () => {
  const ready = steps.filter((name) => readReport(step(name, 'ok'))?.ready)
  assert.equal(ready, ['k3s.ready'])
  assert.is(readReport(step('k3s.ready', 'start'))?.ready, false)
})

test('reads a webhook event, which moves no state', () => {
  const body = JSON.stringify({
    name: 'modules-config/config-runcmd',
    description: 'running config-runcmd',
    event_type: 'finish',
    origin: 'cloudinit',
    timestamp: 1795396247.1,
    result: 'SUCCESS',
  })
  assert.equal(readReport(body), {
    source: 'cloud-init',
    name: 'modules-config/config-runcmd',
    result: 'SUCCESS',
    detail: { description: 'running config-runcmd', event_type: 'finish', origin: 'cloudinit' },
    step: false,
    applied: false,
    ready: false,
  })
})

test('reads a phone_home form', () => {
  assert.equal(readReport('instance_id=i-1&hostname=sn-1&fqdn=sn-1.lan&pub_key_ed25519=ssh-ed25519+AAAA%0A')?.detail, {
    instance_id: 'i-1',
    hostname: 'sn-1',
    fqdn: 'sn-1.lan',
    pub_key_ed25519: 'ssh-ed25519 AAAA',
  })
})
