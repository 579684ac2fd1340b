/**
 * Metrics of runs, under the names that dashboards see. Whoever provides an OpenTelemetry layer exports them, and the
 * spans `tessera.run` and `tessera.<node>`.
 */
import { Effect, Metric, MetricBoundaries } from "effect"
import type { RunEvent } from "./Events.js"

const tasks = Metric.counter("tessera.tasks", {
  description: "Tasks by node and outcome: cached, committed, retried, failed",
  incremental: true
})
const durations = Metric.histogram(
  "tessera.task.duration",
  // From 10 ms to about 12 days.
  MetricBoundaries.exponential({ start: 0.01, factor: 4, count: 14 }),
  "Seconds that executions took"
)
const bytes = Metric.counter("tessera.output.bytes", {
  description: "Bytes of artifacts that executions committed",
  incremental: true
})

const count = (node: string, outcome: string) =>
  Metric.increment(Metric.tagged(Metric.tagged(tasks, "node", node), "outcome", outcome))

export const record = (event: RunEvent): Effect.Effect<void> => {
  switch (event._tag) {
    case "TaskCached":
      return count(event.node, "cached")
    case "TaskRetried":
      return count(event.node, "retried")
    case "TaskFailed":
      return count(event.node, "failed")
    case "TaskCommitted": {
      const size = Object.values(event.outputs).reduce((sum, output) => sum + output.size, 0)
      return Effect.all(
        [
          count(event.node, "committed"),
          Metric.update(Metric.tagged(durations, "node", event.node), event.millis / 1000),
          Metric.update(Metric.tagged(bytes, "node", event.node), size)
        ],
        { discard: true }
      )
    }
    default:
      return Effect.void
  }
}
