// `npm run kine`: brings what tests of real clusters need, once, into the cache. Exit 0 and a `skipped:` line for what is not to be had.
import { fetchKubectl } from './kubectl.ts'
import { buildKine, kineVersions } from './program.ts'

for (const version of kineVersions) {
  report(`kine ${version}`, await buildKine(version, (line) => console.log(line)))
}
report('kubectl', await fetchKubectl())

function report(what: string, why: string | undefined): void {
  console.log(why ? `skipped: ${what}: ${why}; whatever needs it is not tested here` : `ok   ${what}`)
  if (why?.includes('ended with')) process.exitCode = 1
}
