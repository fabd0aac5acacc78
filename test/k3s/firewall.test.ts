import * as assert from 'uvu/assert'
import { firewall } from '../../src/k3s/firewall.ts'
import { suite } from '../suite.ts'

const test = suite("a node's firewall")

test('lets a server and an agent in as K3s asks for', () => {
  const networks = ['10.42.0.0/16', '10.43.0.0/16']
  assert.equal(firewall('server', 'managed', {}), { ports: ['6443/tcp', '10250/tcp', '8472/udp'], networks })
  assert.equal(firewall('agent', 'managed', {}), { ports: ['10250/tcp', '8472/udp'], networks })
})

test('follows the datastore, the backend of flannel and the embedded registry', () => {
  assert.equal(
    firewall('server', 'embedded-etcd', { 'flannel-backend': 'wireguard-native', 'embedded-registry': true }).ports,
    ['6443/tcp', '2379-2380/tcp', '10250/tcp', '5001/tcp', '51820/udp', '51821/udp'],
  )
  assert.equal(firewall('agent', 'embedded-etcd', { 'flannel-backend': 'none' }).ports, ['10250/tcp'])
})

test('trusts the networks of the settings, each by itself, and nothing that is none', () => {
  const settings = { 'cluster-cidr': ['10.52.0.0/16,fd00:42::/56'], 'service-cidr': ['10.53.0.0/16', '$(id)', 'x/y'] }
  assert.equal(firewall('agent', 'sqlite', settings).networks, ['10.52.0.0/16', 'fd00:42::/56', '10.53.0.0/16'])
})
