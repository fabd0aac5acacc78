// Interim: each file in its own process. The full runner replaces this.
import { spawnSync } from 'node:child_process'
const files = process.argv.slice(2)
let failed = 0
for (const file of files) {
  const code = `globalThis.UVU_DEFER=1;const {exec}=await import('uvu');globalThis.UVU_QUEUE=[[${JSON.stringify(file)}]];globalThis.UVU_INDEX=0;await import(${JSON.stringify(new URL(`../${file}`, import.meta.url).href)});const {collected}=await import(${JSON.stringify(new URL('suite.ts', import.meta.url).href)});for(const s of collected)s.run();await exec();process.exit(process.exitCode??0)`
  const r = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], { stdio: 'inherit' })
  if (r.status) failed++
}
process.exit(failed ? 1 : 0)
