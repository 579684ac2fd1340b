/** The PyTorch runtime, on the CPU, keeps the contract of a model runtime. */
import { NodeContext } from "@effect/platform-node"
import { demoModelPath } from "@tessera/demo"
import { RuntimeTorch } from "@tessera/runtime-torch"
import { testRuntime } from "@tessera/testing"
import { Layer } from "effect"
import { describe } from "vitest"
import { torchPython } from "../python/Torch.js"

const python = await torchPython("runtime-torch is not held to the contract of a runtime")

describe.skipIf(python === undefined)("on PyTorch", () => {
  const layer = RuntimeTorch.layer({ device: "cpu", threads: 2, ...(python === undefined ? {} : { python }) })
  testRuntime("runtime-torch", layer.pipe(Layer.provide(NodeContext.layer)), {
    model: demoModelPath,
    tokens: Array.from({ length: 48 }, (_, i) => 3 + ((i * 7919) % 2500))
  })
})
