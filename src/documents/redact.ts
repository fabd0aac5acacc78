import type { DocumentInput } from './input.ts'

/** What of an input can hold a secret that a document must be redacted by. */
export type Secretive = {
  secret: DocumentInput['secret']
  k3s: Pick<DocumentInput['k3s'], 'config' | 'token' | 'files' | 'registries'>
}

/** That part of an input, for keeping beside its document. */
export function secretive({ secret, k3s: { config, token, files, registries } }: DocumentInput): Secretive {
  return { secret, k3s: { config, token, files: files.filter(({ content }) => isKey(content)), registries } }
}

/** The same input with a placeholder for each secret: for previews, which show no secret by construction. */
export function redactInput(input: DocumentInput): DocumentInput {
  const { secret, k3s } = input
  const endpoint = datastoreEndpoint(input)
  return {
    ...input,
    k3s: {
      ...k3s,
      config: endpoint === undefined ? k3s.config : k3s.config.replaceAll(endpoint, '<datastore endpoint>'),
      token: k3s.token && '<join token>',
      files: k3s.files.map(({ path, content }) => ({ path, content: isKey(content) ? '<private key>' : content })),
      registries: k3s.registries && '<registries>',
    },
    secret: {
      report_url: secret.report_url.replace(/[^/]*$/, '<report token>'),
      join: secret.join && '<join token>',
      node: secret.node && '<node credential>',
      node_password: '<node password>',
    },
  }
}

/**
 * The document that a device was given, with a placeholder for each secret: for the copy that outlives it. Not rendered again, since templates of ours
 * change with our version, and the copy is to show what was sent.
 * @returns undefined if a secret would still be in it, e.g. one that a template encoded in a way of its own
 */
export function redactBody(input: Secretive, body: string): string | undefined {
  const secrets = secretsOf(input)
  const hide = (text: string) =>
    secrets.reduce(
      (hidden, [secret, name]) => hidden.replaceAll(secret, name),
      text.replace(privateKeys, '<private key>'),
    )
  const redacted = hide(
    body.replace(/"data:;base64,([A-Za-z0-9+/=]*)"/g, (_, data) => `"data:;base64,${encode(hide(decode(data)))}"`),
  )
  return secrets.some(([secret]) => isEncodedIn(secret, redacted)) ? undefined : redacted
}

function secretsOf(input: Secretive): [secret: string, placeholder: string][] {
  const { secret, k3s } = input
  const token = k3s.token
  const endpoint = datastoreEndpoint(input)
  const keys = k3s.files.filter(({ content }) => isKey(content)).map(({ content }) => content)
  const all: [string, string][] = [
    [token, '<join token>'],
    [token.slice(token.indexOf('::') + 2), '<join token>'],
    [secret.join, '<join token>'],
    [secret.node, '<node credential>'],
    [secret.node_password, '<node password>'],
    [secret.report_url.slice(secret.report_url.lastIndexOf('/') + 1), '<report token>'],
    [endpoint ?? '', '<datastore endpoint>'],
    // A template of an admin's own may have taken it apart.
    [/:\/\/[^:@/]+:([^@/]+)@/.exec(endpoint ?? '')?.[1] ?? '', '<datastore password>'],
    // Whole for one that a template encoded, and by line for one that it took apart or that lost its end.
    ...keys
      .flatMap((content) => content.match(privateKeys) ?? [])
      .map((block): [string, string] => [block, '<private key>']),
    ...keys
      .flatMap((content) => content.split('\n'))
      .filter((line) => line.length > 15 && !line.startsWith('-----'))
      .map((line): [string, string] => [line, '<private key>']),
    // By line, since a template may indent them. A copy that an earlier version kept has none.
    ...linesOf(k3s.registries ?? '', 8).map((line): [string, string] => [line, '<registries>']),
  ]
  return all.filter(([text]) => text !== '')
}

const linesOf = (text: string, longer: number) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.length > longer)

// Rollcall writes the line itself, and an endpoint is printable ASCII without quotes: what stands there is the endpoint.
const datastoreEndpoint = ({ k3s }: Secretive) => /^datastore-endpoint: "(.*)"$/m.exec(k3s.config)?.[1]

// In whatever form: indented, or its line ends escaped. No dashes stand within, so that a text of many beginnings takes no longer than another.
const privateKeys =
  /-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY-----(?:(?!-----)[\s\S])*-----END [A-Z0-9 ]{0,32}PRIVATE KEY-----/g

const isKey = (content: string) => content.includes('PRIVATE KEY')
const decode = (data: string) => Buffer.from(data, 'base64').toString()
const encode = (text: string) => Buffer.from(text).toString('base64')

/** Whether a text holds a secret as base64, at whichever of the three offsets it may begin. */
function isEncodedIn(secret: string, text: string): boolean {
  return [0, 1, 2].some((offset) => {
    const encoded = encode(' '.repeat(offset) + secret)
    // The first and last group depend on the neighbours.
    const core = encoded.slice(offset === 0 ? 0 : 4, Math.floor((offset + secret.length) / 3) * 4)
    return core.length >= 8 && text.includes(core)
  })
}
