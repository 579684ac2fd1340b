/**
 * The baseline of StreamingLLM (arXiv 2309.17453): a sink and one window for all heads of all layers.
 */
import {
  AttentionShapeDocument,
  type AttentionShape,
  Candidates,
  Geometry,
  type Plan,
  PlannedLength,
  type Rule
} from "@tessera/attention"
import { stage } from "@tessera/core"
import { Effect, Schema } from "effect"

export const StreamingLlmParams = Schema.Struct({
  /** Share of N that each head keeps, the sink included, rounded down to whole blocks. */
  density: Schema.Number.pipe(Schema.greaterThan(0), Schema.lessThanOrEqualTo(1)),
  /** To compare plans, give the geometry of the plan compared with. */
  geometry: Geometry,
  /** Default: `streaming-llm-` and the density in percent. */
  name: Schema.optionalWith(Schema.NonEmptyString, { exact: true }),
  /** What N is. */
  length: Schema.optionalWith(PlannedLength, { default: () => "prompt+new" as const })
}).annotations({ identifier: "StreamingLlmParams" })
export type StreamingLlmParams = typeof StreamingLlmParams.Type

/** The uniform plan: every KV head has the rule (0, density). */
export const uniformPlan = (model: AttentionShape, params: StreamingLlmParams): Plan => {
  const rule: Rule = { alpha: 0, beta: params.density }
  return {
    format: 1,
    name: params.name ?? `streaming-llm-${Number((params.density * 100).toFixed(2))}`,
    model,
    geometry: params.geometry,
    grouping: "kv-head",
    rules: Array.from({ length: model.layers }, () => Array.from({ length: model.kvHeads }, () => rule)),
    length: params.length,
    provenance: { method: "streaming-llm", density: String(params.density) }
  }
}

/** One candidate: the uniform plan. It expects no loss of its own, as it looks at no influence. */
export const streamingLlm = stage("baseline-streaming-llm", {
  version: "1",
  module: import.meta.url,
  description: "The uniform sink-plus-window plan of StreamingLLM",
  inputs: { shape: AttentionShapeDocument },
  outputs: { candidates: Candidates },
  params: StreamingLlmParams,
  reproducible: "bitwise",
  run: ({ shape }, params) =>
    Effect.map(shape.value, (model) => ({
      candidates: { candidates: [{ plan: uniformPlan(model, params), expected: [] }] as const }
    }))
})
