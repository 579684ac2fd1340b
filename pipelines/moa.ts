/**
 * MoA on your own model and corpus: calibrate with the model's own summaries, profile by gradients, choose elastic rules
 * per KV head, validate at a length that was not profiled, emit kernels.
 *
 *     npx tessera run pipelines/moa.ts --param corpus=multi_news --param model=my-model
 *
 * The corpus is a JSON-lines or Parquet file with columns document and summary, or a folder of such files.
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Model } from "@tessera/attention"
import { streamingLlm } from "@tessera/baseline-streaming-llm"
import {
  calibrate,
  CorpusFiles,
  moaTemplates,
  multiNewsCorpus,
  splitCorpus,
  Template
} from "@tessera/calibration-multinews"
import { emitTriton } from "@tessera/codegen-triton"
import { pipeline, provide, type Ref, source } from "@tessera/core"
import { optimiseElastic } from "@tessera/optimizer-elastic"
import { profile, robust } from "@tessera/profiler-gradient"
import { paretoPicture } from "@tessera/report-svg"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { choose, evaluateAnswers, mergeAll } from "@tessera/validator"
import { Layer, Schema } from "effect"

const withDefault = <A, I>(schema: Schema.Schema<A, I>, value: NoInfer<A>) =>
  Schema.optionalWith(schema, { default: () => value })
const Size = Schema.Int.pipe(Schema.positive())

export const params = {
  corpus: Schema.String,
  /** Share of the corpus that is kept for measuring. */
  share: withDefault(Schema.Number.pipe(Schema.between(0.01, 0.99)), 0.25),
  /** The prompt around an item. */
  template: withDefault(Template, Schema.decodeSync(Template)(moaTemplates.multi_news)),
  /** Lengths that are profiled, in tokens. */
  lengths: withDefault(Schema.NonEmptyArray(Size), [2048, 4096, 8192]),
  /** A longer length that no plan has seen before it is validated. */
  unseen: withDefault(Size, 16384),
  /** Items of each length that are profiled, and items of a length that is measured. */
  items: withDefault(Size, 16),
  heldOut: withDefault(Size, 16),
  maxNewTokens: withDefault(Size, 128),
  block: withDefault(Size, 64),
  sink: withDefault(Schema.NonNegativeInt, 64),
  minWindow: withDefault(Size, 2)
}
type Common = Schema.Struct.Type<typeof params>

/** What every plan for a model begins with: its influence on the corpus, and items of the corpus kept for measuring. */
export const profiled = <E, R>(model: Ref<typeof Model, E, R>, given: Common) => {
  const { lengths, items, share, maxNewTokens, block, sink } = given
  const split = splitCorpus(multiNewsCorpus({ files: source(CorpusFiles, given.corpus) }, {}), { share })
  const templates = { multi_news: given.template }
  const { calibration } = calibrate(
    { model, corpus: split.corpus },
    { lengths, items, maxNewTokens, templates }
  )
  /** The model's answers to items of a corpus that was held out. */
  const answers = (corpus: typeof split.heldOut, lengths: Common["lengths"], name: string) =>
    calibrate({ model, corpus }, { lengths, items: given.heldOut, maxNewTokens, templates }, { name })
      .calibration
  return {
    model,
    heldOut: split.heldOut,
    answers,
    ...profile({ model, calibration }, { ...robust, block, sink })
  }
}

const Params = Schema.Struct({
  /** Folder of the model, in Hugging Face's layout. */
  model: Schema.String,
  ...params,
  /** The KV cache to keep, as a share of the dense one. */
  density: withDefault(Schema.Number.pipe(Schema.between(0.01, 1)), 0.5)
})

export const moa = pipeline("moa", Params, ({ density, ...given }) => {
  const { unseen, block, sink, minWindow } = given
  const model = source(Model, given.model)
  const { influence, shape, heldOut, answers } = profiled(model, given)
  const { candidates } = optimiseElastic(
    { influence, shape },
    { density, minWindow, extendLengths: [unseen], maxCandidates: 4 },
    { name: "optimise" }
  )
  const uniform = streamingLlm({ shape }, { density, geometry: { block, sink, minWindow } }).candidates
  const compared = mergeAll(uniform, candidates)
  const { measurements } = evaluateAnswers(
    { model, heldOut: answers(heldOut, [unseen], "held-out"), candidates: compared },
    {},
    { name: "validate" }
  )
  const { plan } = choose({ candidates, measurements }, { criterion: "loss" })
  return {
    plan,
    measurements,
    kernels: emitTriton({ plan }, {}).kernels,
    picture: paretoPicture({ candidates: compared, measurements, plan }, {}).picture
  }
})

export default provide(moa, Layer.provideMerge(RuntimeCpu.layer(), NodeContext.layer))
