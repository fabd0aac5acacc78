import { parsedUrl, unprintable } from './endpoint-text.ts'

/** More members than anybody runs. */
const most = 9

/** The members of an etcd, `https://h1:2379,https://h2:2379`, as origins. @returns what is wrong, without repeating it */
export function parseEtcd(endpoint: string): string[] | { problem: string } {
  if (unprintable(endpoint)) return { problem: 'has a blank or a character beyond ASCII' }
  const members = endpoint.split(',')
  if (members.length > most) return { problem: `names more than ${most} members` }
  for (const member of members) {
    const problem = memberProblem(member)
    if (problem) return { problem }
  }
  const origins = members.map((member) => new URL(member).origin)
  if (new Set(origins).size < origins.length) return { problem: 'names a member twice' }
  return origins
}

/** What is wrong with an endpoint of etcd; undefined if nothing is. */
export function etcdProblem(endpoint: string): string | undefined {
  const parsed = parseEtcd(endpoint)
  return 'problem' in parsed ? parsed.problem : undefined
}

function memberProblem(member: string): string | undefined {
  // Over plain HTTP everybody on the way reads the cluster's secrets.
  if (!member.startsWith('https://')) return 'must be a list of https://host:2379, with commas and no blanks'
  const url = parsedUrl(member)
  if (!url || url.hostname === '') return 'has a member that is no URL'
  if (url.username || url.password) return 'has a login: etcd takes client certificates (certfile, keyfile)'
  if (url.pathname !== '/' || url.search || url.hash) return 'has a member with more than host and port'
  return undefined
}
