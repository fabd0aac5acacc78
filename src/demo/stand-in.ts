import { createHash } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The demo's K3s: it says that it is one. Rollcall's own parts are the real ones; K3s is not put on the machine of whoever looks. */
const k3s = `#!/bin/sh
# Stand-in for K3s in the demo of Rollcall.
case "$*" in
  *'get nodes'*)
    mkdir -p "$ROLLCALL_DATA/server/tls"
    echo '-----BEGIN CERTIFICATE----- of a stand-in' >"$ROLLCALL_DATA/server/tls/server-ca.crt"
    ;;
  *'get pods'*) ;;
  *'get node'*) printf True ;;
  *) echo 'k3s version v1.36.3+k3s1 (a stand-in)' ;;
esac
`

const installScript = `#!/bin/sh
# Stand-in for K3s' install.sh in the demo of Rollcall: says what it was told.
echo "stand-in installer: version $INSTALL_K3S_VERSION, role $INSTALL_K3S_EXEC"
`

/** Programs that would change the machine of whoever looks: harmless while the demo's box runs. */
export const harmless: Readonly<Record<string, string>> = {
  systemctl: `#!/bin/sh
case "$*" in *firewalld* | *is-enabled*) exit 1 ;; esac
`,
  timedatectl: '#!/bin/sh\nexit 1\n',
  ufw: '#!/bin/sh\nexit 1\n',
}

export const version = 'v1.36.3+k3s1'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** What the admin records for the version: with these hashes, nothing else runs as root on a box. */
export const recorded = {
  version,
  artifacts: Object.fromEntries(['amd64', 'arm64', 'arm'].map((arch) => [arch, { sha256: sha256(k3s) }])),
  install_script: { sha256: sha256(installScript) },
}

/** Serves the stand-ins on loopback, laid out like a release of K3s. */
export async function serveStandIns(): Promise<{ url: string; close: () => void }> {
  const server: Server = createServer((request, response) => {
    response.end(request.url === '/install.sh' ? installScript : k3s)
  })
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() }
}
