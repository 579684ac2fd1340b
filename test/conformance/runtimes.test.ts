/** The embedded runtime keeps the contract of a model runtime. */
import { NodeContext } from "@effect/platform-node"
import { demoModelPath } from "@tessera/demo"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { testRuntime } from "@tessera/testing"
import { Layer } from "effect"

testRuntime("runtime-cpu", RuntimeCpu.layer({ threads: 1 }).pipe(Layer.provide(NodeContext.layer)), {
  model: demoModelPath,
  tokens: Array.from({ length: 48 }, (_, i) => 3 + ((i * 7919) % 2500))
})
