import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { labAddress } from './network.ts'

/** K3s' releases as the lab serves them: the stand-in's installer and binary, with the hashes to put on record. */
export type Artifacts = {
  scriptUrl: string
  url: string
  scriptSha256: string
  binarySha256: string
  /** Serves user-data as NoCloud over HTTP; the answer is what `seedfrom` is to be. */
  serveUserData: (name: string, text: string) => string
  close: () => void
}

export async function serveArtifacts(): Promise<Artifacts> {
  const file = (name: string) => readFile(new URL(`stand-in/${name}`, import.meta.url))
  const [script, binary] = await Promise.all([file('install.sh'), file('k3s')])
  const seeds = new Map<string, Buffer>()
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url ?? '')
    const release =
      path === '/install.sh' ? script : /^\/v[^/]+\/k3s(?:-arm64|-armhf)?$/.test(path) ? binary : undefined
    const body = release ?? seeds.get(path)
    response.writeHead(body ? 200 : 404, { 'Content-Length': body?.length ?? 0 }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, labAddress, resolve))
  const url = `http://${labAddress}:${(server.address() as { port: number }).port}`
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
  return {
    scriptUrl: `${url}/install.sh`,
    url,
    scriptSha256: sha256(script),
    binarySha256: sha256(binary),
    serveUserData: (name, text) => {
      seeds.set(`/${name}/user-data`, Buffer.from(text))
      seeds.set(`/${name}/meta-data`, Buffer.from(`instance-id: ${name}\n`))
      // A 404 for what is optional costs ten seconds of boot.
      for (const file of ['vendor-data', 'network-config']) seeds.set(`/${name}/${file}`, Buffer.alloc(0))
      return `${url}/${name}/`
    },
    close: () => void server.close(),
  }
}
