/** A request's body, its type, and a bearer token */
export type How = { body?: string | undefined; type?: string; bearer?: string }

/** What each program says of itself, and its own headers */
const agents: Record<string, string> = {
  client: 'rollcall-client/1\r\nAccept: text/plain',
  node: 'rollcall-node/1\r\nAccept: text/plain',
  'cloud-init': 'Cloud-Init/22.4.2\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive',
}

/** One request of a box's program, as it is on the wire. */
export function requestOf(program: string, what: string, { body, type, bearer }: How): Buffer {
  const head = [`${what} HTTP/1.1`, 'Host: 127.0.0.1', `User-Agent: ${agents[program]}`]
  if (bearer) head.push(`Authorization: Bearer ${bearer}`)
  if (type) head.push(`Content-Type: ${type}`)
  if (body !== undefined) head.push(`Content-Length: ${Buffer.byteLength(body)}`)
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body ?? ''}`)
}
