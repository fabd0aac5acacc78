import { Hono, type MiddlewareHandler } from 'hono'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

/** What is counted, by route pattern: no path, no serial, no token ever becomes a label. */
export type Metrics = {
  registry: Registry
  observe: (labels: { method: string; route: string; status: number }, seconds: number) => void
  /** A claim named a key that is not pinned for its serial: guessing, or a box whose key changed. */
  unknownKey: () => void
  /** A report over its device's cap was dropped. */
  reportDropped: () => void
  /** Task polls that are held open now, asked when metrics are. */
  pollsHeld: (count: () => number) => void
  /** Tasks of all clusters that are not done. */
  tasksWaiting: (count: number) => void
}

const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30]

/** Milliseconds between samples of the event loop's delay, which none is below. At 10, prom-client's own, a server with nothing to do spends a third of its time on them. */
const precision = 100

/** Milliseconds for which what was shown of the event loop's delay is shown again: of no sample since, prom-client says that it is 9,223,372,036 s. */
const fresh = 1_000

function keepDelays(registry: Registry): void {
  // One metric's collecting sets them all (prom-client lib/metrics/eventLoopLag.js).
  const delays = registry.getSingleMetric('nodejs_eventloop_lag_seconds') as unknown as { collect: () => void }
  const { collect } = delays
  let shown = performance.now()
  delays.collect = () => {
    if (performance.now() - shown < fresh) return
    shown = performance.now()
    collect()
  }
}

/** A registry of its own, so that two servers in one process (tests) do not share counters. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: precision })
  keepDelays(registry)
  const requests = new Histogram({
    name: 'rollcall_http_request_seconds',
    help: 'Time to answer a request',
    labelNames: ['method', 'route', 'status'],
    buckets,
    registers: [registry],
  })
  const count = (name: string, help: string) => {
    const counter = new Counter({ name, help, registers: [registry] })
    return () => counter.inc()
  }
  const waiting = new Gauge({
    name: 'rollcall_tasks_waiting',
    help: 'Tasks of all clusters that are not done; every server counts all of them',
    registers: [registry],
  })
  return {
    registry,
    pollsHeld: (ask) => {
      new Gauge({
        name: 'rollcall_task_polls_held',
        help: 'Task polls that are held open',
        registers: [registry],
        collect() {
          this.set(ask())
        },
      })
    },
    tasksWaiting: (n) => waiting.set(n),
    observe: (labels, seconds) => requests.observe(labels, seconds),
    unknownKey: count('rollcall_claims_unknown_key_total', 'Claims by a kid that is not pinned for their serial'),
    reportDropped: count('rollcall_reports_dropped_total', "Reports dropped over their device's cap"),
  }
}

/** `GET|HEAD /metrics`, for whoever `allowed` lets through. */
export const metricsRoutes = ({ registry }: Metrics, allowed: MiddlewareHandler) =>
  new Hono().get('/metrics', allowed, async (c) => {
    const body = await registry.metrics()
    const length = String(Buffer.byteLength(body))
    return c.body(body, 200, { 'Content-Type': registry.contentType, 'Content-Length': length })
  })
