import { request } from 'node:https'
import { AppError } from '../errors.ts'
import type { RancherImport } from '../k3s/cluster.ts'

const patience = 15_000
/** Bytes of an answer. A cluster agent's manifest has about 20,000. */
const most = 1_048_576

type Answer = { status: number; text: string }
type Collection = { data?: { id?: unknown; manifestUrl?: unknown }[] }

/**
 * The manifest that makes a cluster part of a Rancher: of the cluster by this name there, which is made if there is none yet. Holds a credential for
 * all of the cluster.
 * @throws AppError `busy` while the Rancher does not answer, or has no manifest yet; its detail is for the log and the admin
 */
export async function fetchImportManifest(rancher: RancherImport, cluster: string): Promise<string> {
  const url = rancher.manifest_url ?? (await registrationUrl(rancher, cluster))
  // Where it leads is Rancher's word; the token is for Rancher alone.
  const { status, text } = await call({ ...rancher, token: undefined }, 'GET', url)
  if (status !== 200 || !/^kind: /m.test(text)) throw away(`it gave no manifest (${status})`)
  return text
}

async function registrationUrl(rancher: RancherImport, cluster: string): Promise<string> {
  const v3 = (path: string) => `${rancher.url.replace(/\/+$/, '')}/v3/${path}`
  const found = await collection(rancher, v3(`clusters?name=${encodeURIComponent(cluster)}`))
  const clusterId =
    found.data?.[0]?.id ?? (await made(rancher, v3('clusters'), { type: 'cluster', name: cluster, import: true })).id
  if (typeof clusterId !== 'string' || !/^[a-z0-9-]{1,64}$/.test(clusterId)) throw away('it made no cluster')
  const path = `clusterregistrationtokens?clusterId=${clusterId}`
  const tokens = await collection(rancher, v3(path))
  const token =
    tokens.data?.[0] ??
    (await made(rancher, v3('clusterregistrationtokens'), { type: 'clusterRegistrationToken', clusterId }))
  // Rancher fills it in a moment after it made the token.
  if (typeof token.manifestUrl !== 'string' || !token.manifestUrl.startsWith('https://'))
    throw away('it has no manifest yet')
  return token.manifestUrl
}

async function collection(rancher: RancherImport, url: string): Promise<Collection> {
  const { status, text } = await call(rancher, 'GET', url)
  if (status !== 200) throw away(`it refuses the token (${status})`)
  return parsed(text) as Collection
}

async function made(
  rancher: RancherImport,
  url: string,
  body: object,
): Promise<{ id?: unknown; manifestUrl?: unknown }> {
  const { status, text } = await call(rancher, 'POST', url, body)
  if (status !== 200 && status !== 201) throw away(`it made nothing (${status})`)
  return parsed(text) as { id?: unknown; manifestUrl?: unknown }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) ?? {}
  } catch (cause) {
    throw away('it does not speak as a Rancher does', cause)
  }
}

const away = (why: string, cause?: unknown) =>
  new AppError('busy', { detail: `the Rancher is not ready for this cluster: ${why}`, retryAfter: 30, cause })

function call({ token, ca }: RancherImport, method: string, url: string, body?: object): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const login = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const type = body ? { 'content-type': 'application/json' } : {}
    const sent = request(url, { method, ca, agent: false, timeout: patience, headers: { ...login, ...type } })
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', (cause) => reject(away('it does not answer', cause)))
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
        if (text.length > most) sent.destroy(new Error('too long'))
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
    })
    sent.end(body && JSON.stringify(body))
  })
}
