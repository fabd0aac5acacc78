import * as assert from 'uvu/assert'
import { addressesOf, defaultInterface } from '../src/addresses.ts'
import { suite } from './suite.ts'

const nothing = { host: undefined, publicUrl: undefined, bootUrl: undefined, audiences: [], tlsSans: [] }
const ports = { https: 8443, http: 8080 }
const own = '192.168.7.5'
const loopback = ['localhost', '127.0.0.1', '::1']

const test = suite('addresses')

test('are guessed from the default route without any setting, and say so', () => {
  assert.equal(addressesOf(nothing, ports, own), {
    https: 'https://192.168.7.5:8443',
    http: 'http://192.168.7.5:8080',
    publicUrl: 'https://192.168.7.5:8443',
    bootUrl: 'http://192.168.7.5:8080',
    publicUrlGuessed: true,
    publicUrlLoopback: false,
    audiences: ['https://192.168.7.5:8443'],
    sans: [own, ...loopback],
  })
})

test('are loopback on a machine without a network, which is no public URL', () => {
  const { publicUrl, publicUrlGuessed } = addressesOf(nothing, ports, undefined)
  assert.is(publicUrl, 'https://127.0.0.1:8443')
  assert.is(publicUrlGuessed, true)
})

test('take "everywhere" for no host at all', () => {
  for (const host of ['0.0.0.0', '::']) {
    const { publicUrl, publicUrlGuessed } = addressesOf({ ...nothing, host }, ports, own)
    assert.is(publicUrl, 'https://192.168.7.5:8443')
    assert.is(publicUrlGuessed, true)
  }
})

test('are the listening host where one was given', () => {
  const { publicUrl, publicUrlGuessed, sans } = addressesOf({ ...nothing, host: 'roll.example' }, ports, own)
  assert.is(publicUrl, 'https://roll.example:8443')
  assert.is(publicUrlGuessed, false)
  assert.equal(sans, ['roll.example', ...loopback])
})

test('warn of a loopback host or URL though it was given', () => {
  for (const host of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) {
    assert.is(addressesOf({ ...nothing, host }, ports, own).publicUrlGuessed, true)
  }
  const given = { ...nothing, publicUrl: 'https://localhost:1' }
  assert.is(addressesOf(given, ports, own).publicUrlGuessed, true)
})

test('write IPv6 in brackets and leave default ports out', () => {
  const { https, http, sans } = addressesOf({ ...nothing, host: 'fd00::1' }, { https: 443, http: 80 }, own)
  assert.is(https, 'https://[fd00::1]')
  assert.is(http, 'http://[fd00::1]')
  assert.is(sans[0], 'fd00::1')
})

test('are as given where they were given, each in audiences and certificate once', () => {
  const given = {
    host: '10.0.0.1',
    publicUrl: 'https://roll.example',
    bootUrl: 'http://boot.example',
    audiences: ['https://old.example', 'https://roll.example'],
    tlsSans: ['old.example', 'roll.example'],
  }
  const { publicUrl, bootUrl, publicUrlGuessed, audiences, sans } = addressesOf(given, ports, own)
  assert.equal([publicUrl, bootUrl, publicUrlGuessed], ['https://roll.example', 'http://boot.example', false])
  assert.equal(audiences, ['https://roll.example', 'https://old.example'])
  assert.equal(sans, ['roll.example', '10.0.0.1', 'old.example', ...loopback])
})

test('follow the default route with the lowest metric', () => {
  const table = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0107A8C0	0003	0	0	600	00000000	0	0	0
eth0	00000000	0107A8C0	0003	0	0	100	00000000	0	0	0
eth1	0007A8C0	00000000	0001	0	0	10	00FFFFFF	0	0	0
`
  assert.is(defaultInterface(table), 'eth0')
  assert.is(defaultInterface(''), undefined)
})
