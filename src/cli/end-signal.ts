/** How the process is told to end. */
export type End = {
  /** Aborted by the first SIGTERM or SIGINT */
  signal: AbortSignal
  first: Promise<void>
  /** The second one: whoever sent it does not want to wait. */
  second: Promise<void>
}

/** Takes over SIGTERM and SIGINT. */
export function endSignal(): End {
  const controller = new AbortController()
  const first = next()
  const second = first.then(next)
  void first.then(() => controller.abort())
  return { signal: controller.signal, first, second }
}

function next(): Promise<void> {
  return new Promise((done) => {
    const heard = () => {
      // The other handler stays: without one the default would end us at once.
      done()
    }
    process.on('SIGTERM', heard)
    process.on('SIGINT', heard)
  })
}
