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
import { pipeline, provide, source } from "@tessera/core"
import { optimiseElastic } from "@tessera/optimizer-elastic"
import { profile, robust } from "@tessera/profiler-gradient"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { choose, evaluateAnswers, mergeAll } from "@tessera/validator"
import { Layer, Schema } from "effect"

const withDefault = <A, I>(schema: Schema.Schema<A, I>, value: NoInfer<A>) =>
  Schema.optionalWith(schema, { default: () => value })
const Size = Schema.Int.pipe(Schema.positive())

const Params = Schema.Struct({
  /** Folder of the model, in Hugging Face's layout. */
  model: Schema.String,
  corpus: Schema.String,
  /** The prompt around an item. */
  template: withDefault(Template, Schema.decodeSync(Template)(moaTemplates.multi_news)),
  /** Lengths that are profiled, in tokens. */
  lengths: withDefault(Schema.NonEmptyArray(Size), [2048, 4096, 8192]),
  /** A longer length that no plan has seen before it is validated. */
  unseen: withDefault(Size, 16384),
  /** Items of each length that are profiled, and items of the unseen length. */
  items: withDefault(Size, 16),
  heldOut: withDefault(Size, 16),
  maxNewTokens: withDefault(Size, 128),
  /** The KV cache to keep, as a share of the dense one. */
  density: withDefault(Schema.Number.pipe(Schema.between(0.01, 1)), 0.5),
  block: withDefault(Size, 64),
  sink: withDefault(Schema.NonNegativeInt, 64),
  minWindow: withDefault(Size, 2)
})

const moa = pipeline("moa", Params, (params) => {
  const { lengths, unseen, density, block, sink, minWindow, maxNewTokens } = params
  const model = source(Model, params.model)
  const split = splitCorpus(multiNewsCorpus({ files: source(CorpusFiles, params.corpus) }, {}), {})
  const templates = { multi_news: params.template }
  const { calibration } = calibrate(
    { model, corpus: split.corpus },
    { lengths, items: params.items, maxNewTokens, templates }
  )
  const { influence, shape } = profile({ model, calibration }, { ...robust, block, sink })
  const { candidates } = optimiseElastic(
    { influence, shape },
    { density, minWindow, extendLengths: [unseen], maxCandidates: 4 },
    { name: "optimise" }
  )
  const uniform = streamingLlm({ shape }, { density, geometry: { block, sink, minWindow } }).candidates

  const heldOut = calibrate(
    { model, corpus: split.heldOut },
    { lengths: [unseen], items: params.heldOut, maxNewTokens, templates },
    { name: "held-out" }
  ).calibration
  const { measurements } = evaluateAnswers(
    { model, heldOut, candidates: mergeAll(uniform, candidates) },
    {},
    { name: "validate" }
  )
  const { plan } = choose({ candidates, measurements }, { criterion: "loss" })
  return { plan, measurements, kernels: emitTriton({ plan }, {}).kernels }
})

export default provide(moa, Layer.provideMerge(RuntimeCpu.layer(), NodeContext.layer))
