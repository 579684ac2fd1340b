/**
 * Exports traces and metrics where the environment names an OpenTelemetry collector, in the variables of its
 * specification: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES.
 */
import { Config, Effect, Layer, Option } from "effect"
import { CliError } from "./Failure.js"

const ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"

const settings = Config.all({
  endpoint: Config.option(Config.nonEmptyString(ENDPOINT)),
  headers: Config.withDefault(Config.string("OTEL_EXPORTER_OTLP_HEADERS"), ""),
  service: Config.withDefault(Config.string("OTEL_SERVICE_NAME"), "tessera")
})

/** `name=value,name=value`, values percent-encoded. */
const headersOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    text.split(",").flatMap((pair) => {
      const at = pair.indexOf("=")
      return at > 0 ? [[pair.slice(0, at).trim(), decodeURIComponent(pair.slice(at + 1).trim())]] : []
    })
  )

const exporting = (endpoint: string, headers: Record<string, string>, serviceName: string) =>
  Effect.promise(async () => {
    const [tracer, metrics, serialization, http] = await Promise.all([
      import("@effect/opentelemetry/OtlpTracer"),
      import("@effect/opentelemetry/OtlpMetrics"),
      import("@effect/opentelemetry/OtlpSerialization"),
      import("@effect/platform/FetchHttpClient")
    ])
    const url = (signal: string) => `${endpoint.replace(/\/+$/, "")}/v1/${signal}`
    const options = { headers, resource: { serviceName }, shutdownTimeout: "3 seconds" } as const
    return Layer.mergeAll(
      tracer.layer({ ...options, url: url("traces") }),
      metrics.layer({ ...options, url: url("metrics") })
    ).pipe(Layer.provide([serialization.layerJson, http.layer]))
  })

/** Nothing where no collector is named. A collector that cannot be reached costs a run nothing but its telemetry. */
export const layer: Layer.Layer<never, CliError> = Layer.unwrapEffect(
  Effect.gen(function* () {
    const { endpoint, headers, service } = yield* settings
    if (Option.isNone(endpoint)) return Layer.empty
    if (!URL.canParse(endpoint.value)) {
      return yield* new CliError({
        reason: "Parameter",
        where: ENDPOINT,
        detail: `${endpoint.value} is not a URL; it should be one such as http://127.0.0.1:4318`
      })
    }
    return yield* exporting(endpoint.value, headersOf(headers), service)
  }).pipe(
    Effect.catchTag("ConfigError", (error) =>
      Effect.fail(new CliError({ reason: "Parameter", where: ENDPOINT, detail: error.message }))
    )
  )
)
