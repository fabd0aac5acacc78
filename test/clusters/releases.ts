import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { simulatorProgram } from '../fakes/k3s/bundle.ts'
import { labAddress } from '../lab/network.ts'

export const versions = ['v1.36.3+k3s1', 'v1.36.4+k3s1'] as const
export const version = versions[0]

/** K3s' releases, each the simulator by another version's name, in install.sh's layout. */
export type Releases = {
  scriptUrl: string
  url: string
  /** What an admin puts on record of each. */
  recorded: unknown[]
  close: () => void
}

export async function serveReleases(): Promise<Releases> {
  const script = await readFile(new URL('../lab/stand-in/install.sh', import.meta.url))
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    const found = versions.find((one) => path === `/${one}/k3s`)
    const body = path === '/install.sh' ? script : found && Buffer.from(simulatorProgram(found))
    response.writeHead(body ? 200 : 404, { 'Content-Length': body?.length ?? 0 }).end(body)
  })
  await new Promise<void>((done) => server.listen(0, labAddress, done))
  const url = `http://${labAddress}:${(server.address() as { port: number }).port}`
  const sha256 = (bytes: Buffer | string) => createHash('sha256').update(bytes).digest('hex')
  return {
    scriptUrl: `${url}/install.sh`,
    url,
    recorded: versions.map((one) => ({
      version: one,
      artifacts: { amd64: { sha256: sha256(simulatorProgram(one)) } },
      install_script: { sha256: sha256(script) },
    })),
    close: () => void server.close(),
  }
}
