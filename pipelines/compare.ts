/**
 * Dense, StreamingLLM and MoA side by side on your own model: what each keeps of the KV cache, the loss of the model's own
 * summaries that were not profiled, and LongEval line retrieval, at every length and one that no plan has seen.
 *
 *     npx tessera run pipelines/compare.ts --param corpus=multi_news --param model=my-model
 *     npx tessera show answers
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Model } from "@tessera/attention"
import { streamingLlm } from "@tessera/baseline-streaming-llm"
import { splitCorpus } from "@tessera/calibration-multinews"
import { pipeline, provide, type Ref, source } from "@tessera/core"
import { optimiseElastic } from "@tessera/optimizer-elastic"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { choose, evaluate, evaluateAnswers, longEval, mergeAll } from "@tessera/validator"
import { Layer, Schema } from "effect"
import { params, profiled } from "./moa.js"

export const comparison = {
  ...params,
  /** The KV caches to keep, as shares of the dense one. */
  densities: Schema.optionalWith(Schema.NonEmptyArray(Schema.Number.pipe(Schema.between(0.01, 1))), {
    default: () => [0.5, 0.25] as const
  }),
  /** Records of each length, and questions about each. */
  records: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 5 }),
  questions: Schema.optionalWith(Schema.Int.pipe(Schema.positive()), { default: () => 10 })
}

/** Answers and retrieval of a model under every plan. */
export const compared = <E, R>(
  model: Ref<typeof Model, E, R>,
  { densities, records, questions, ...given }: Schema.Struct.Type<typeof comparison>
) => {
  const { lengths, unseen, block, sink, minWindow } = given
  const { influence, shape, heldOut, answers } = profiled(model, given)
  // Plans are chosen by one half of what was held out, and reported with the other.
  const { corpus: validation, heldOut: test } = splitCorpus(
    { corpus: heldOut },
    { share: 0.5 },
    { name: "split-held-out" }
  )
  const unseenAnswers = answers(validation, [unseen], "validation-set")
  const [first, ...rest] = densities
  const plansOf = (density: number) => {
    const percent = Math.round(100 * density)
    const uniform = streamingLlm(
      { shape },
      { density, geometry: { block, sink, minWindow }, name: `streaming-llm-${percent}` },
      { name: `streaming-llm-${percent}` }
    ).candidates
    const { candidates } = optimiseElastic(
      { influence, shape },
      { density, minWindow, extendLengths: [unseen], maxCandidates: 4, name: `moa-${percent}` },
      { name: `optimise-${percent}` }
    )
    const { measurements } = evaluateAnswers(
      { model, heldOut: unseenAnswers, candidates },
      { dense: false },
      { name: `validate-${percent}` }
    )
    const name = `moa-${percent}`
    const { chosen } = choose(
      { candidates, measurements },
      { criterion: "loss", name },
      { name: `choose-${percent}` }
    )
    return mergeAll(uniform, chosen)
  }
  const candidates = mergeAll(plansOf(first), ...rest.map(plansOf))
  const evaluation = longEval({ model }, { lengths: [...lengths, unseen], records, questions }).evaluation
  return {
    retrieval: evaluate({ model, evaluation, candidates }, { judge: "number" }, { name: "retrieval" })
      .measurements,
    answers: evaluateAnswers(
      { model, heldOut: answers(test, [...lengths, unseen], "test-set"), candidates },
      {},
      { name: "answers" }
    ).measurements
  }
}

const compare = pipeline(
  "compare",
  Schema.Struct({
    /** Folder of the model, in Hugging Face's layout. */
    model: Schema.String,
    ...comparison
  }),
  ({ model, ...given }) => compared(source(Model, model), given)
)

export default provide(compare, Layer.provideMerge(RuntimeCpu.layer(), NodeContext.layer))
