import { request } from 'node:https'
import { AppError } from '../errors.ts'
import type { RancherImport } from '../k3s/cluster.ts'
import { manifestProblem, manifestUrlProblem } from '../k3s/rancher.ts'

/** Milliseconds that one answer may take, whole. */
const patience = 15_000
/** Bytes of an answer of its API, and of a manifest: a cluster agent's has about 20,000. */
const most = { answer: 1_048_576, manifest: 262_144 }

type Answer = { status: number; text: string }
type Resource = { id?: unknown; manifestUrl?: unknown }

/**
 * The manifest that makes a cluster part of a Rancher: of the cluster by this name there, which is made if there is none yet. Holds a credential for
 * all of the cluster. No redirect is followed, and nothing is fetched but from the Rancher's own origin.
 * @throws AppError `busy` while the Rancher does not answer, or has no manifest yet; its detail and cause, for the log and the admin, hold no secret
 */
export async function fetchImportManifest(rancher: RancherImport, cluster: string): Promise<string> {
  const url = rancher.manifest_url ?? (await registrationUrl(rancher, cluster))
  // The URL is the credential; the token is for Rancher's API alone.
  const { status, text } = await call({ ...rancher, token: undefined }, 'GET', url, { most: most.manifest })
  const why = status === 200 ? manifestProblem(text) : `the answer is ${status}`
  if (why) throw away(`it gave no manifest: ${why}`)
  return text
}

async function registrationUrl(rancher: RancherImport, cluster: string): Promise<string> {
  const v3 = (path: string) => `${rancher.url.replace(/\/+$/, '')}/v3/${path}`
  const found = await first(rancher, v3(`clusters?name=${encodeURIComponent(cluster)}`))
  const clusterId =
    found?.id ?? (await made(rancher, v3('clusters'), { type: 'cluster', name: cluster, import: true })).id
  if (typeof clusterId !== 'string' || !/^[a-z0-9-]{1,64}$/.test(clusterId)) throw away('it made no cluster')
  const path = `clusterregistrationtokens?clusterId=${clusterId}`
  const token =
    (await first(rancher, v3(path))) ??
    (await made(rancher, v3('clusterregistrationtokens'), { type: 'clusterRegistrationToken', clusterId }))
  // Rancher fills it in a moment after it made the token.
  if (!token.manifestUrl) throw away('it has no manifest yet')
  const why = manifestUrlProblem(rancher.url, token.manifestUrl)
  if (why) throw away(`the address that it gives for its manifest ${why}`)
  return token.manifestUrl as string
}

/** The first of a collection. */
async function first(rancher: RancherImport, url: string): Promise<Resource | undefined> {
  const { status, text } = await call(rancher, 'GET', url, { most: most.answer })
  if (status === 401 || status === 403) throw away(`it refuses the token (${status})`)
  if (status !== 200) throw away(`its API answers ${status}`)
  const { data } = parsed(text) as { data?: unknown }
  if (!Array.isArray(data)) throw strange()
  const [one] = data
  return typeof one === 'object' && one !== null ? one : undefined
}

async function made(rancher: RancherImport, url: string, body: object): Promise<Resource> {
  const { status, text } = await call(rancher, 'POST', url, { most: most.answer, body })
  if (status !== 200 && status !== 201) throw away(`it made nothing (${status})`)
  return parsed(text)
}

function parsed(text: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // What the parser says of it quotes the answer.
  }
  if (typeof value !== 'object' || value === null) throw strange()
  return value
}

function away(why: string): AppError {
  const detail = `the Rancher is not ready for this cluster: ${why}`
  return new AppError('busy', { detail, retryAfter: 30, cause: new Error(detail) })
}

const strange = () => away('it does not speak as a Rancher does')

/** The words of a failure; not its message, which may hold what was sent. */
const unanswered = ({ name, code }: NodeJS.ErrnoException) =>
  away(name === 'AbortError' ? 'it does not answer in time' : `it does not answer (${code ?? name})`)

function call(
  { token, ca }: RancherImport,
  method: string,
  url: string,
  { most, body }: { most: number; body?: object },
): Promise<Answer> {
  return new Promise<Answer>((resolve, reject) => {
    const login = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const type = body ? { 'content-type': 'application/json' } : {}
    const signal = AbortSignal.timeout(patience)
    const sent = request(url, { method, ca, agent: false, signal, headers: { ...login, ...type } })
    sent.on('error', (error) => reject(unanswered(error)))
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length <= most) return
        reject(away(`an answer has more than ${most} bytes`))
        response.destroy()
      })
      response.on('error', (error) => reject(unanswered(error)))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }))
    })
    sent.end(body && JSON.stringify(body))
  }).catch((error) => {
    throw error instanceof AppError ? error : unanswered(error)
  })
}
