/**
 * The comparison of compare.ts on PyTorch: on CUDA where there is a GPU, for models that transformers loads, a GGUF file
 * among them.
 *
 *     npx tessera doctor --install torch
 *     npx tessera run pipelines/compareTorch.ts --param corpus=multi_news --param model=SmolLM2-135M-Instruct.Q4_1.gguf
 */
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Model } from "@tessera/attention"
import { pipeline, provide, source } from "@tessera/core"
import { GgufFile, importGguf, RuntimeTorch } from "@tessera/runtime-torch"
import { Layer, Schema } from "effect"
import { compared, comparison } from "./compare.js"

const Params = Schema.Struct({
  /** Folder of the model, in Hugging Face's layout, or a .gguf file. */
  model: Schema.String,
  ...comparison
})

const compare = pipeline("compare", Params, ({ model, ...given }) =>
  compared(
    model.endsWith(".gguf") ? importGguf({ gguf: source(GgufFile, model) }, {}).model : source(Model, model),
    given
  )
)

export default provide(compare, Layer.provideMerge(RuntimeTorch.layer(), NodeContext.layer))
