import { type Opened, type Source, SourceBroke } from './source.ts'

/** Milliseconds without a byte after which a download counts as broken. */
const stall = 60_000

/** Files below a URL; each name is one path segment. @param base without a slash at its end */
export function urlSource(base: string): Source {
  return fixedUrls((name) => `${base}/${encodeURIComponent(name)}`)
}

/** Files whose URLs do not follow from their names. */
export function fixedUrls(urlOf: (name: string) => string): Source {
  return { place: urlOf, has: (name) => answers(urlOf(name)), open: (name, from = 0) => openUrl(urlOf(name), from) }
}

async function openUrl(url: string, from: number): Promise<Opened | undefined> {
  const abort = new AbortController()
  const response = await ask(url, from, abort)
  if (response.status === 416 && from > 0) return openUrl(url, 0)
  if (response.status === 404 || response.status === 410) return undefined
  if (!response.ok || !response.body) throw refusal(url, response.status)
  if (url.startsWith('https:') && !response.url.startsWith('https:'))
    throw new Error(`${url} leads to ${response.url}, without TLS`)
  const start = Number(/^bytes (\d+)-/.exec(response.headers.get('content-range') ?? '')?.[1] ?? -1)
  if (response.status === 206 && start !== from) throw new Error(`${url} answers with other bytes than were asked for`)
  return { from: response.status === 206 ? from : 0, bytes: watched(response.body as never, url, abort) }
}

async function answers(url: string): Promise<boolean> {
  const response = await ask(url, 0, new AbortController(), 'HEAD')
  if (response.ok) return true
  if (response.status === 404 || response.status === 410) return false
  throw refusal(url, response.status)
}

async function ask(url: string, from: number, abort: AbortController, method = 'GET'): Promise<Response> {
  const timer = setTimeout(() => abort.abort(), stall)
  // Without it a proxy may compress, and bytes would not be those of the file.
  const headers = { 'accept-encoding': 'identity', ...(from > 0 ? { range: `bytes=${from}-` } : {}) }
  try {
    return await fetch(url, { method, headers, signal: abort.signal })
  } catch (error) {
    throw broke(url, error)
  } finally {
    clearTimeout(timer)
  }
}

async function* watched(
  body: AsyncIterable<Uint8Array>,
  url: string,
  abort: AbortController,
): AsyncIterable<Uint8Array> {
  const timer = setTimeout(() => abort.abort(), stall)
  try {
    for await (const chunk of body) {
      timer.refresh()
      yield chunk
    }
  } catch (error) {
    throw broke(url, error)
  } finally {
    clearTimeout(timer)
    abort.abort()
  }
}

const refusal = (url: string, status: number) => {
  const text = `${url} answers ${status}`
  return status === 429 || status >= 500 ? new SourceBroke(text) : new Error(text)
}

function broke(url: string, error: unknown): SourceBroke {
  const { name, message, cause } = error as Error & { cause?: { code?: string; message?: string } }
  const why = name === 'AbortError' ? `no byte in ${stall / 1000} s` : (cause?.message ?? cause?.code ?? message)
  return new SourceBroke(`${url}: ${why}`, { cause: error })
}
