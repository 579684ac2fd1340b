/** The plugins' stages that ask a model keep the contract of a stage, on the embedded runtime. */
import { NodeContext } from "@effect/platform-node"
import { calibrate } from "@tessera/calibration-multinews"
import { demoModelPath, demoPrompts } from "@tessera/demo"
import { profileItem, profileLength } from "@tessera/profiler-gradient"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { testStage } from "@tessera/testing"
import { evaluateAnswer, evaluateRecord } from "@tessera/validator"
import { Layer } from "effect"
import { calibrationItem, candidates, corpusItem } from "./fixtures.js"

const layer = RuntimeCpu.layer({ threads: 1 }).pipe(Layer.provideMerge(NodeContext.layer))
const model = demoModelPath
// Other numbers of rows at once may sum in another order.
const tolerance = 1e-4

testStage(calibrate, {
  inputs: { model, corpus: [corpusItem("one", 50), corpusItem("three", 50)] },
  params: { lengths: [192], items: 2, maxNewTokens: 4, templates: demoPrompts },
  defaults: { answer: "model" },
  layer
})

const calibration = [calibrationItem("a", 64, 8), calibrationItem("bb", 64, 8)]
testStage(profileItem, {
  inputs: { model, calibration },
  params: { block: 16, sink: 16 },
  each: { calibration: "item" },
  tolerance,
  layer
})

testStage(evaluateAnswer, {
  inputs: { model, heldOut: calibration, candidates: candidates(0.5) },
  params: {},
  each: { heldOut: "item" },
  tolerance,
  layer
})

testStage(profileLength, {
  inputs: { model, calibration: [...calibration, calibrationItem("ccc", 96, 8)] },
  params: { block: 16, sink: 16, keepBlocks: true },
  each: { calibration: "length" },
  tolerance,
  layer
})

testStage(evaluateRecord, {
  inputs: {
    model,
    evaluation: ["a", "b"].map((record, i) => ({
      item: `${record}-0`,
      task: "summary",
      length: 64,
      record,
      context: "News from Calaby. ",
      question: i === 0 ? "It rained. " : "It snowed. ",
      answer: "rain",
      depth: 0.5
    })),
    candidates: candidates(0.5)
  },
  params: {},
  each: { evaluation: "record" },
  tolerance,
  layer
})
