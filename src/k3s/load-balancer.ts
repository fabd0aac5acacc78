import type { FieldError } from '../errors.ts'
import { isHostname } from './api-endpoint.ts'
import type { LoadBalancer } from './cluster.ts'

/** A server node of a cluster, and where it answers: its address as far as an admin gave one, else its name. */
export type Backend = { name: string; address: string }

/** What stands before a cluster's servers. */
export type Front = {
  cluster: string
  /** Of the API endpoint: what agents, admins and certificates name */
  host: string
  port: number
  vips: readonly string[]
  backends: readonly Backend[]
}

const dottedQuad = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/
const isAddress = (text: string) => dottedQuad.test(text) || (text.includes(':') && URL.canParse(`http://[${text}]/`))

/** What is wrong with a load balancer, by path. */
export function checkLoadBalancer({ vips, addresses }: LoadBalancer): FieldError[] {
  return [
    ...vips.flatMap((vip, i) =>
      isAddress(vip) ? [] : [{ path: `load_balancer.vips.${i}`, reason: 'must be an IP address' }],
    ),
    ...Object.entries(addresses).flatMap(([name, address]) =>
      isHostname(name) && (isAddress(address) || isHostname(address))
        ? []
        : [
            {
              path: `load_balancer.addresses.${name}`,
              reason: 'must lead from a hostname to an IP address or DNS name',
            },
          ],
    ),
  ]
}

/** The names and addresses that the servers' certificate must hold before their first start, beside the cluster's `tls_sans`. */
export const frontNames = ({ vips }: LoadBalancer): readonly string[] => vips

const bracketed = (address: string) => (address.includes(':') ? `[${address}]` : address)

/**
 * haproxy.cfg that passes TCP through to the servers that answer `pong` at /ping (K3s' own, without a login). A check does not verify the
 * certificate, since nothing is decided by it but whether to send connections there: clients verify end to end.
 *
 * Virtual addresses are bound `transparent`ly (IP_TRANSPARENT, wants CAP_NET_ADMIN): keepalived brings one up only where HAProxy runs already, and
 * the machine that stands by must run it without them. A server whose name does not resolve is left out until a reload; a `resolvers` section would
 * look for it again, but asks DNS alone, without search domains or /etc/hosts, and so loses servers that are known by their bare names.
 */
export function haproxyConfig({ cluster, port, vips, backends }: Front): string {
  const binds = vips.length > 0 ? vips.map((vip) => `${bracketed(vip)}:${port} transparent`) : [`:${port}`]
  return `# HAProxy in front of the servers of cluster ${cluster}. Written by Rollcall: made anew when servers come or go.
global
    log stdout format raw local0
    # Started by root, which alone may bind addresses that are not there yet.
    user haproxy
    group haproxy
    maxconn 20000

defaults
    log global
    mode tcp
    option tcplog
    option dontlognull
    timeout connect 5s
    # kubectl logs -f and watches are quiet for long.
    timeout client 1h
    timeout server 1h
    timeout tunnel 4h
    timeout check 3s

frontend k3s-${cluster}
${binds.map((bind) => `    bind ${bind}`).join('\n')}
    default_backend k3s-${cluster}-servers

backend k3s-${cluster}-servers
    balance leastconn
    option httpchk GET /ping
    http-check expect string pong
    # A server whose name does not resolve is left out, and keeps no other one from being served.
    default-server init-addr last,libc,none check check-ssl verify none inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
${backends.map(({ name, address }) => `    server ${name} ${bracketed(address)}:6443`).join('\n')}
`
}

/**
 * keepalived.conf for two or more machines that share the VIPs: the one whose HAProxy runs, else the next.
 * @param network how the machines' link is called
 */
export function keepalivedConfig({ cluster, vips }: Front, network: { link: string; routerId: number }): string {
  // An advertisement carries one family of addresses; those of the other move along with it.
  const advertised = vips.filter((vip) => vip.includes(':') === vips[0]?.includes(':'))
  const rest = vips.filter((vip) => !advertised.includes(vip)).map((vip) => `        ${vip}\n`)
  const others = rest.length > 0 ? `    virtual_ipaddress_excluded {\n${rest.join('')}    }\n` : ''
  return `# keepalived for the virtual addresses of cluster ${cluster}. The same on each machine, but for its priority: give each its own.
global_defs {
    enable_script_security
    script_user nobody
}

vrrp_script haproxy {
    script "/usr/bin/pgrep -x haproxy"
    interval 2
    fall 2
    rise 2
}

vrrp_instance k3s_${cluster.replaceAll('-', '_')} {
    state BACKUP
    interface ${network.link}
    virtual_router_id ${network.routerId}
    priority 100
    advert_int 1
    nopreempt
    virtual_ipaddress {
${advertised.map((vip) => `        ${vip}`).join('\n')}
    }
${others}    track_script {
        haproxy
    }
}
`
}

/** Lines for the zone that the API endpoint's name lies in: the VIPs, else each server that has an address. */
export function zoneRecords({ cluster, host, vips, backends }: Front): string {
  const addresses = vips.length > 0 ? vips : backends.map(({ address }) => address).filter(isAddress)
  const lines = addresses.map((address) => `${host}. 60 IN ${address.includes(':') ? 'AAAA' : 'A'} ${address}`)
  return `; API of cluster ${cluster}\n${lines.join('\n')}\n`
}
