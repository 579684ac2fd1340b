import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { describe, expect, it, onTestFinished } from "vitest"
import { fixture, folder, tessera } from "./Tessera.js"

interface Span {
  readonly name: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly attributes: ReadonlyArray<{
    readonly key: string
    readonly value: { readonly stringValue?: string }
  }>
}

/** A collector of the OpenTelemetry protocol, as far as a test needs one. */
const collector = async () => {
  const spans: Array<Span> = []
  const metrics = new Set<string>()
  const headers = new Set<string | undefined>()
  const server = createServer((request, response) => {
    let body = ""
    request.on("data", (text: Buffer) => (body += text.toString()))
    request.on("end", () => {
      headers.add(request.headers["x-team"]?.toString())
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what the protocol says
      const told = JSON.parse(body) as {
        readonly resourceSpans?: ReadonlyArray<{
          readonly scopeSpans: ReadonlyArray<{ readonly spans: ReadonlyArray<Span> }>
        }>
        readonly resourceMetrics?: ReadonlyArray<{
          readonly scopeMetrics: ReadonlyArray<{ readonly metrics: ReadonlyArray<{ readonly name: string }> }>
        }>
      }
      for (const { scopeSpans } of told.resourceSpans ?? [])
        for (const scope of scopeSpans) spans.push(...scope.spans)
      for (const { scopeMetrics } of told.resourceMetrics ?? [])
        for (const scope of scopeMetrics) for (const { name } of scope.metrics) metrics.add(name)
      response.end("{}")
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  onTestFinished(() => void server.close())
  return { spans, metrics, headers, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe("telemetry", () => {
  it("goes to the collector that the environment names: a span per run and execution, and counts", async () => {
    const { headers, metrics, spans, url } = await collector()
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_EXPORTER_OTLP_HEADERS: "x-team=llm%20compression" }
    expect((await tessera(["run", fixture("squares")], { cwd: folder(), env })).code).toBe(0)
    const run = spans.find(({ name }) => name === "tessera.run")
    expect(run?.attributes).toContainEqual({ key: "tessera.pipeline", value: { stringValue: "squares" } })
    const squares = spans.filter(({ name }) => name === "tessera.square")
    const shards = squares.map(
      ({ attributes }) => attributes.find(({ key }) => key === "shard")?.value.stringValue
    )
    expect(shards.toSorted((a = "", b = "") => a.localeCompare(b))).toEqual(["0", "1"])
    expect(squares.every(({ parentSpanId }) => parentSpanId === run?.spanId)).toBe(true)
    expect([...metrics]).toEqual(expect.arrayContaining(["tessera.tasks", "tessera.task.duration"]))
    expect([...headers]).toEqual(["llm compression"])
  })

  it("that reaches nobody costs a run nothing", async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" }
    const { code, stderr } = await tessera(["run", fixture("squares")], { cwd: folder(), env })
    expect([code, stderr]).toEqual([0, expect.not.stringContaining("127.0.0.1:9")])
  })

  it("to something that is no URL is refused", async () => {
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: "collector" }
    const { code, stderr } = await tessera(["run", fixture("squares")], { cwd: folder(), env })
    expect([code, stderr]).toEqual([
      2,
      expect.stringContaining("OTEL_EXPORTER_OTLP_ENDPOINT: collector is not a URL")
    ])
  })
})
