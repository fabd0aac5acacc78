import { once } from 'node:events'
import { extname } from 'node:path'
import { type ResourceLimits, Worker } from 'node:worker_threads'

const isSource = extname(import.meta.url) === '.ts'

/**
 * Starts a thread and waits until it says that it is there, by a first message.
 * @param name of its program, which lies beside this file, whether that is the source or what was built of it
 * @throws whatever it ended with instead
 */
export async function startThread(name: string, resourceLimits: ResourceLimits): Promise<Worker> {
  const program = new URL(`./${name}${extname(import.meta.url)}`, import.meta.url)
  const worker = isSource
    ? new Worker(fromSource(program), { eval: true, resourceLimits })
    : new Worker(program, { resourceLimits, env: {} })
  // An error that nobody waits for would end this process.
  worker.on('error', () => {})
  await once(worker, 'message')
  return worker
}

// Node 20 gives a thread no loader that this process was started with, so one that runs from the sources registers it again.
function fromSource(program: URL): string {
  const loader = import.meta.resolve('tsx/esm/api')
  return `import(${JSON.stringify(loader)}).then((tsx) => { tsx.register(); return import(${JSON.stringify(program.href)}) })`
}
