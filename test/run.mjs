// `npm test` and `node test/run.mjs [file or folder …]`: the runner itself is TypeScript, in test/runner/.
import { register } from 'tsx/esm/api'

register()
const { main } = await import('./runner/main.ts')
process.exit(await main(process.argv.slice(2)))
