import { document, pipeline, provide, stage, type GraphError, type ArtifactError } from "@tessera/core"
import type { Store, StoreError } from "@tessera/store"
import { Context, Data, Effect, Layer, Schema } from "effect"
import { expectTypeOf, it } from "vitest"
import {
  explain,
  plan,
  run,
  type EngineError,
  type RunFailed,
  type RunResult,
  type StageFailed
} from "../src/index.js"

class TooHot extends Data.TaggedError("TooHot") {}
class NoDriver extends Data.TaggedError("NoDriver") {}
class Gpu extends Context.Tag("Gpu")<Gpu, { readonly heat: Effect.Effect<number, TooHot> }>() {}
class Driver extends Context.Tag("Driver")<Driver, { readonly version: string }>() {}

const Heat = document("Heat/1", Schema.Number)
const heat = stage("heat", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { heat: Heat },
  params: Schema.Struct({}),
  run: () =>
    Effect.map(
      Effect.flatMap(Gpu, (gpu) => gpu.heat),
      (heat) => ({ heat })
    )
})
const hot = pipeline("hot", { heat: heat({}, {}).heat })
const withGpu = provide(
  hot,
  Layer.effect(
    Gpu,
    Effect.flatMap(Driver, ({ version }) =>
      version === "" ? Effect.fail(new NoDriver()) : Effect.succeed({ heat: Effect.succeed(40) })
    )
  )
)

type Own = GraphError | EngineError | StoreError | ArtifactError

it("a run fails with what the stages and the layer fail with, and needs what is not provided yet", () => {
  expectTypeOf(run(hot)).toEqualTypeOf<
    Effect.Effect<RunResult, Own | StageFailed<TooHot> | RunFailed<TooHot>, Gpu | Store>
  >()
  expectTypeOf(run(withGpu)).toEqualTypeOf<
    Effect.Effect<
      RunResult,
      Own | StageFailed<TooHot | NoDriver> | RunFailed<TooHot | NoDriver>,
      Driver | Store
    >
  >()
  expectTypeOf<Effect.Effect.Context<ReturnType<typeof plan<{}, TooHot, Gpu>>>>().toEqualTypeOf<Gpu | Store>()
  expectTypeOf<Effect.Effect.Context<ReturnType<typeof explain<{}, TooHot, Gpu>>>>().toEqualTypeOf<
    Gpu | Store
  >()
})

it("a pipeline without stages of its own errors has a StageFailed without a cause", () => {
  expectTypeOf(run(pipeline("empty", {}))).toEqualTypeOf<
    Effect.Effect<RunResult, Own | StageFailed<never> | RunFailed<never>, Store>
  >()
})

it("a run that lacks a service does not run", () => {
  // @ts-expect-error Gpu and Store are missing
  const missing = () => Effect.runPromise(run(hot))
  expectTypeOf(missing).toBeFunction()
})

it("a stage tells what is transient by the type of its own errors", () => {
  stage("typed", {
    version: "1",
    module: import.meta.url,
    inputs: {},
    outputs: { heat: Heat },
    params: Schema.Struct({}),
    run: () =>
      Effect.as(Effect.zipRight(Effect.fail(new TooHot()), Effect.fail(new NoDriver())), { heat: 1 }),
    retry: {
      transient: (error) => {
        expectTypeOf(error).toEqualTypeOf<TooHot | NoDriver>()
        return error._tag === "TooHot"
      }
    }
  })
})
