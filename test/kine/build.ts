// `npm run kine`: builds what tests of real datastores need, once, into the cache. Exit 0 and a `skipped:` line where there is no Go.
import { buildKine, kineVersions } from './program.ts'

for (const version of kineVersions) {
  const why = await buildKine(version, (line) => console.log(line))
  console.log(why ? `skipped: kine ${version}: ${why}; whatever needs it is not tested here` : `ok   kine ${version}`)
  if (why?.startsWith('go ended')) process.exitCode = 1
}
