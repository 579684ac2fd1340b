/** The plugins' stages that need no model keep the contract of a stage. */
import { NodeContext } from "@effect/platform-node"
import { streamingLlm } from "@tessera/baseline-streaming-llm"
import { mergeCorpora, multiNewsCorpus, splitCorpus } from "@tessera/calibration-multinews"
import { emitFlex } from "@tessera/codegen-flex"
import { emitTriton } from "@tessera/codegen-triton"
import { demoModelPath } from "@tessera/demo"
import { optimiseElastic } from "@tessera/optimizer-elastic"
import { reduceInfluence } from "@tessera/profiler-gradient"
import { paretoPicture, spanPicture } from "@tessera/report-svg"
import { testStage } from "@tessera/testing"
import { choose, mergeCandidates, summarise } from "@tessera/validator"
import { candidates, corpusItem, geometry, plan, shape } from "./fixtures.js"

testStage(streamingLlm, {
  inputs: { shape },
  params: { density: 0.25, geometry },
  defaults: { length: "prompt+new" }
})

const corpus = ["one", "two", "three", "four"].map((item) => corpusItem(item, 5))
testStage(splitCorpus, { inputs: { corpus }, params: {}, defaults: { share: 0.25 } })
testStage(mergeCorpora, { inputs: { first: corpus.slice(0, 2), second: corpus.slice(2) }, params: {} })
testStage(multiNewsCorpus, {
  inputs: {
    files: {
      files: { "deep/a.jsonl": `${JSON.stringify({ document: "It rained.", summary: "– Rain." })}\n` }
    }
  },
  params: {},
  defaults: { onEmpty: "skip" },
  layer: NodeContext.layer
})

const influence = [64, 128].flatMap((length) =>
  Array.from({ length: shape.queryHeads }, (_, head) => ({
    length,
    layer: 0,
    head,
    block: 16,
    sink: 16,
    items: 1,
    window: Array.from({ length: length / 16 + 1 }, (_, w) =>
      w === length / 16 ? 0 : (1 + ((head * 11) % 13)) * Math.exp(-w / (1 + head))
    ),
    blocks: []
  }))
)
testStage(optimiseElastic, {
  inputs: { influence, shape: { ...shape, layers: 1 } },
  params: { density: 0.5, minWindow: 1 },
  defaults: {
    families: [{ family: "elastic", grid: "fine" }],
    objectives: "pareto",
    extendLengths: [],
    budgets: [],
    share: "head"
  }
})

const itemInfluence = ["a", "b"].map((item, i) => ({
  item,
  length: 32,
  layer: 0,
  head: 0,
  block: 16,
  sink: 16,
  window: [3 + i, 1, 0],
  blocks: []
}))
testStage(reduceInfluence, {
  inputs: { items: itemInfluence, model: demoModelPath },
  params: {},
  defaults: { over: "mean" },
  layer: NodeContext.layer
})

const measured = [1, 2, 3].map((i) => ({
  plan: i < 3 ? "keeps-0.5" : "keeps-0.25",
  task: "longeval",
  length: 64,
  item: `item-${i}`,
  depth: i / 4,
  exact: i === 1,
  loss: 0.5 * i,
  tokens: 4,
  kv_bytes: 1024,
  density: 0.5
}))
testStage(summarise, { inputs: { items: measured }, params: {}, defaults: { depths: true } })
const measurements = ["keeps-0.5", "keeps-0.25"].map((plan, i) => ({
  plan,
  task: "longeval",
  length: 64,
  depth: "all",
  items: 4,
  accuracy: 1 - i / 4,
  accuracy_low: 0.5,
  accuracy_high: 1,
  loss: 0.1,
  loss_margin: 0.05,
  kv_bytes: 1024,
  density: 0.5
}))
testStage(choose, {
  inputs: { candidates: candidates(0.5, 0.25), measurements },
  params: {},
  defaults: { criterion: "accuracy" }
})
testStage(paretoPicture, {
  inputs: { candidates: candidates(0.5, 0.25), measurements, plan: plan(0.25) },
  params: {}
})
testStage(spanPicture, { inputs: { plan: plan(0.25) }, params: { lengths: [64, 4096] } })

testStage(mergeCandidates, { inputs: { first: candidates(0.5), second: candidates(0.25, 0.75) }, params: {} })

testStage(emitTriton, { inputs: { plan: plan(0.25) }, params: {}, layer: NodeContext.layer })
testStage(emitFlex, { inputs: { plan: plan(0.25) }, params: {}, layer: NodeContext.layer })
