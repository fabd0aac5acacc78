/** What is wrong with settings beside each other that are right by themselves. @param raw their texts, of those that are given */
export function contradictions(raw: Record<string, string>): string[] {
  const halves = (raw.ROLLCALL_TLS_CERT === undefined) !== (raw.ROLLCALL_TLS_KEY === undefined)
  return [
    ...(halves ? ['ROLLCALL_TLS_CERT and ROLLCALL_TLS_KEY: give both or neither'] : []),
    ...datastoreProblems(raw),
  ]
}

function datastoreProblems(raw: Record<string, string>): string[] {
  const { ROLLCALL_DATASTORE_ADDRESS: address, ROLLCALL_DATASTORE_CA: ca, ROLLCALL_DATASTORE_NETWORKS: networks } = raw
  const foreign = raw.DATABASE_URL !== undefined
  const found: string[] = []
  if (address === undefined && (ca ?? networks) !== undefined) {
    found.push('ROLLCALL_DATASTORE_ADDRESS: managed datastores need it: what nodes call this PostgreSQL by')
  }
  if (address !== undefined && foreign && ca === undefined) {
    found.push('ROLLCALL_DATASTORE_CA: nodes verify the PostgreSQL at DATABASE_URL by it: give its authority')
  }
  if (foreign && networks !== undefined) {
    found.push('ROLLCALL_DATASTORE_NETWORKS: only opens the embedded PostgreSQL; for your own, see its pg_hba.conf')
  }
  return found
}
