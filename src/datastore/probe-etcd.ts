import { request } from 'node:https'
import { parseEtcd } from '../k3s/endpoint-etcd.ts'
import { connectionProblem } from './connection-words.ts'
import { error, type Finding, type Look, otherClusters, warning } from './finding.ts'

const patience = 10_000
/** Bytes of an answer that are read: health and a page of keys take far less. */
const most = 65_536

/**
 * Looks at each member of an etcd as K3s would use it: TLS, client certificate, health, and whose data it holds.
 * @param look its endpoint passed `etcdProblem`
 */
export async function probeEtcd(look: Look): Promise<Finding[]> {
  const members = parseEtcd(look.endpoint) as string[]
  const found = await Promise.all(members.map((member) => probeMember(member, look)))
  const all = found.flat()
  if (members.length % 2 === 0)
    all.push(warning('even', `${members.length} members survive no more than ${members.length - 1}`))
  if (look.certfile === undefined)
    all.push(
      warning(
        'no_client_certificate',
        'without certfile and keyfile, whoever reaches it can read and write the cluster',
      ),
    )
  return all
}

async function probeMember(member: string, look: Look): Promise<Finding[]> {
  const at = (finding: Finding): Finding => ({ ...finding, text: `${new URL(member).host}: ${finding.text}` })
  try {
    const health = await ask(member, '/health', look)
    if (health.status === 401 || health.status === 403)
      return [at(error('client_certificate', 'it refuses our certificate'))]
    if (JSON.parse(health.text).health !== 'true') return [at(error('unhealthy', 'it says that it is not healthy'))]
    return otherClusters(await bootstrapNames(member, look), look.bootstrapName).map(at)
  } catch (thrown) {
    return [at(connectionProblem(thrown) ?? error('failed', 'it gives no answer that an etcd gives'))]
  }
}

// etcd's JSON gateway: keys alone of the range that begins with /bootstrap/.
async function bootstrapNames(member: string, look: Look): Promise<string[]> {
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  const body = { key: base64('/bootstrap/'), range_end: base64('/bootstrap0'), keys_only: true, limit: 100 }
  const answer = await ask(member, '/v3/kv/range', look, JSON.stringify(body))
  const { kvs = [] } = JSON.parse(answer.text) as { kvs?: { key: string }[] }
  return kvs.map(({ key }) => Buffer.from(key, 'base64').toString())
}

type Answer = { status: number; text: string }

function ask(member: string, path: string, { cafile, certfile, keyfile }: Look, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const certificates = { ca: cafile, cert: certfile, key: keyfile }
    const sent = request(`${member}${path}`, {
      method: body ? 'POST' : 'GET',
      timeout: patience,
      ...certificates,
      agent: false,
    })
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })))
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (text.length > most) sent.destroy(new Error('too long'))
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.on('error', reject)
    })
    sent.end(body)
  })
}
