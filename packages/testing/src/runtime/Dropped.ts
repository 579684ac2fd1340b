/**
 * What dropping single entries of the attention does to the loss: told by influence, and done by plans.
 */
import type { Plan } from "@tessera/attention"
import type { LoadedModel, Tokens } from "@tessera/runtime"
import { Effect } from "effect"

/** Entries that are looked at: those of most influence, where rounding is least. */
const ENTRIES = 8
/** Tokens of the sink, which every query keeps. */
const SINK = 1

export interface Dropped {
  readonly layer: number
  readonly head: number
  /** The influence, and the change of the mean loss in nats. */
  readonly expected: number
  readonly found: number
}

/** A plan in blocks of one token that drops, of all entries that a loss depends on, the first after the sink in the last such row. */
const planOf = ({ config }: LoadedModel, tokens: number, layer: number, head: number): Plan => {
  const { architecture, headDim, kvHeads, layers, queryHeads } = config
  const rule = (l: number, h: number) =>
    l === layer && h === head ? { alpha: tokens - 2, beta: 0 } : { alpha: 0, beta: 1 }
  return {
    format: 1,
    name: "drops-one-entry",
    model: { architecture, layers, queryHeads, kvHeads, headDim },
    geometry: { block: 1, sink: SINK, minWindow: 1 },
    grouping: "query-head",
    rules: Array.from({ length: layers }, (_, l) => Array.from({ length: queryHeads }, (_, h) => rule(l, h))),
    length: "prompt",
    provenance: { stage: "testing" }
  }
}

/** The row of the last token but one is the last that predicts anything; its entry after the sink is dropped, head by head. */
export const dropped = (
  model: LoadedModel,
  tokens: Tokens,
  prefix: number
): Effect.Effect<ReadonlyArray<Dropped>, unknown> =>
  Effect.gen(function* () {
    const length = tokens.length
    const { layers } = yield* model.influence({
      tokens,
      mask: Array.from(tokens, (_, i) => i >= prefix),
      objective: "cross-entropy",
      block: 1,
      sum: "signed"
    })
    const entry = (length - 2) * length + SINK
    const entries = layers.flatMap((sums, layer) =>
      Array.from({ length: model.config.queryHeads }, (_, head) => ({
        layer,
        head,
        expected: sums[head * length * length + entry] ?? Number.NaN
      }))
    )
    const most = entries.sort((a, b) => Math.abs(b.expected) - Math.abs(a.expected)).slice(0, ENTRIES)
    /** The loss of the last token, which alone depends on that row. */
    const last = (plan?: Plan) =>
      Effect.map(
        model.score({
          prefix: tokens.slice(0, prefix),
          continuations: [tokens.slice(prefix)],
          ...(plan === undefined ? {} : { plan, length })
        }),
        ([score]) => score?.loss.at(-1) ?? Number.NaN
      )
    const whole = yield* last()
    return yield* Effect.forEach(most, ({ expected, head, layer }) =>
      Effect.map(last(planOf(model, length, layer, head)), (loss) => ({
        layer,
        head,
        expected,
        found: (loss - whole) / (length - prefix)
      }))
    )
  })
