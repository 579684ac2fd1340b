/**
 * Wirings that must not compile, and the exact types of those that must. Checked by `npm run types`; never executed.
 */
import {
  type ArtifactError,
  document,
  float32,
  float64,
  gather,
  int32,
  pipeline,
  provide,
  shard,
  source,
  stage,
  table,
  timestampMicros,
  timestampMillis,
  tree,
  utf8,
  vec,
  type Column,
  type Pipeline,
  type Ref,
  type Table
} from "@tessera/core"
import type * as core from "@tessera/core"
import { run, type RunError, type StageFailed } from "@tessera/engine"
import type { Store } from "@tessera/store"
import { Context, Data, Effect, Layer, Schema, Stream } from "effect"

class Cuda extends Context.Tag("Cuda")<Cuda, { readonly device: number }>() {}
class Unrelated extends Context.Tag("Unrelated")<Unrelated, object>() {}
class OutOfMemory extends Data.TaggedError("OutOfMemory")<{ readonly bytes: number }> {}

const Corpus = table("Corpus/1", { text: utf8 })
const Calibration = table("Calibration/1", { sample: int32, tokens: utf8 })
const Gradients = table("Gradients/1", { layer: utf8, norm: float32 })
const Settings = document("Settings/1", Schema.Struct({ bits: Schema.Int }))
const OtherSettings = document("OtherSettings/1", Schema.Struct({ name: Schema.String }))
const Model = tree("Model/1")
const Kernels = tree("Kernels/1")
const empty = Schema.Struct({})
const common = { version: "1", module: import.meta.url } as const

const readCorpus = stage("corpus", {
  ...common,
  inputs: {},
  outputs: { corpus: Corpus },
  params: Schema.Struct({ uri: Schema.String }),
  run: () => Effect.succeed({ corpus: Stream.empty })
})
const calibrate = stage("calibrate", {
  ...common,
  inputs: { corpus: Corpus },
  outputs: { calibration: Calibration },
  params: Schema.Struct({ samples: Schema.Int.pipe(Schema.positive()), seed: Schema.Int }),
  run: ({ corpus }, p) =>
    Effect.succeed({
      calibration: corpus.rows.pipe(
        Stream.take(p.samples),
        Stream.map((row) => ({ sample: 0, tokens: row.text }))
      )
    })
})
const profile = stage("profile", {
  ...common,
  inputs: { calibration: Calibration },
  outputs: { gradients: Gradients },
  params: Schema.Struct({ batch: Schema.optionalWith(Schema.Int, { default: () => 8 }) }),
  resources: { gpu: 1 },
  reproducible: "device",
  run: (_, p) =>
    Effect.gen(function* () {
      const cuda = yield* Cuda
      if (p.batch > 64) return yield* new OutOfMemory({ bytes: cuda.device })
      return { gradients: Stream.make({ layer: "q_proj", norm: 1 }) }
    })
})
const allocate = stage("allocate", {
  ...common,
  inputs: { gradients: Gradients },
  outputs: { bits: table("Bits/1", { layer: utf8, bits: int32 }), settings: Settings },
  params: Schema.Struct({ budget: Schema.Number }),
  run: () => Effect.succeed({ bits: Stream.empty, settings: { bits: 4 } })
})
const emit = stage("emit", {
  ...common,
  inputs: { settings: Settings, model: Model },
  outputs: { kernels: Kernels },
  params: empty,
  run: () => Effect.succeed({ kernels: { files: { "a.py": "" } } })
})
/** A ref to a table of the given columns. */
const some = <const F extends Readonly<Record<string, Column.Any>>>(fields: F) =>
  stage("some", {
    ...common,
    inputs: {},
    outputs: { out: table("X/1", fields) },
    params: empty,
    run: () => Effect.die("types only")
  })({}, {}).out
/** A stage that needs a table of the given columns. */
const needs = <const F extends Readonly<Record<string, Column.Any>>>(fields: F) =>
  stage("needs", {
    ...common,
    inputs: { x: table("X/1", fields) },
    outputs: {},
    params: empty,
    run: () => Effect.succeed({})
  })

const { corpus } = readCorpus({}, { uri: "file:c4.parquet" })
const { calibration } = calibrate({ corpus }, { samples: 512, seed: 7 })
const { gradients } = profile({ calibration }, {})
const { bits, settings } = allocate({ gradients }, { budget: 4.25 })
const model = source(Model, ".")
const { kernels } = emit({ settings, model }, {})
const compress = pipeline("compress", { bits, kernels })

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const program = run(compress)
export const refErrors: Equal<Ref.Error<typeof bits>, OutOfMemory | ArtifactError> = true
export const pipelineError: Equal<
  typeof compress extends Pipeline<infer _T, infer E, infer _R> ? E : 0,
  OutOfMemory | ArtifactError
> = true
export const pipelineServices: Equal<
  typeof compress extends Pipeline<infer _T, infer _E, infer R> ? R : 0,
  Cuda
> = true
export const runError: Equal<
  Effect.Effect.Error<typeof program>,
  RunError<OutOfMemory | ArtifactError>
> = true
export const runServices: Equal<Effect.Effect.Context<typeof program>, Cuda | Store> = true
const provided = provide(compress, Layer.succeed(Cuda, { device: 0 }))
const providedProgram = run(provided)
export const onlyStore: Equal<Effect.Effect.Context<typeof providedProgram>, Store> = true
export const runnable: Pipeline.Runnable = provided

allocate({ gradients: some({ layer: utf8, norm: float32, step: int32 }) }, { budget: 4 }) // wider is fine
// @ts-expect-error 1: the wrong table
allocate({ gradients: calibration }, { budget: 4 })
// @ts-expect-error 2: int32 where float32 is needed
allocate({ gradients: some({ layer: utf8, norm: int32 }) }, { budget: 4 })
// @ts-expect-error 3: a missing input
allocate({}, { budget: 4 })
// @ts-expect-error 4: a misspelt parameter
allocate({ gradients }, { bugdet: 4 })
// @ts-expect-error 5: float64 where float32 is needed
allocate({ gradients: some({ layer: utf8, norm: float64 }) }, { budget: 4 })
// @ts-expect-error 6: microseconds where milliseconds are needed
needs({ t: timestampMillis })({ x: some({ t: timestampMicros }) }, {})
// @ts-expect-error 7: a list of 128 where one of 64 is needed
needs({ v: vec(64) })({ x: some({ v: vec(128) }) }, {})
// @ts-expect-error 8: run without the service
Effect.runPromise(program)
// @ts-expect-error 8b: not runnable while a service is missing
export const notRunnable: Pipeline.Runnable = compress
stage("bad", {
  ...common,
  inputs: {},
  outputs: { g: Gradients },
  params: empty,
  // @ts-expect-error 9: rows that the output port does not have
  run: () => Effect.succeed({ g: Stream.make({ layer: 1, norm: 1 }) })
})

const perSample = profile.each({ calibration: shard(calibration, "sample") }, {})
allocate({ gradients: gather(perSample.gradients) }, { budget: 4 })
// @ts-expect-error 10: shards where a table is needed
allocate({ gradients: perSample.gradients }, { budget: 4 })
// @ts-expect-error 11: sharding by an unknown column
shard(calibration, "layer")
// @ts-expect-error 12: a document in a table's port
allocate({ gradients: settings }, { budget: 4 })
const otherSettings = stage("other", {
  ...common,
  inputs: {},
  outputs: { out: OtherSettings },
  params: empty,
  run: () => Effect.succeed({ out: { name: "" } })
})({}, {}).out
// @ts-expect-error 13: another document
emit({ settings: otherSettings, model }, {})
// @ts-expect-error 14: a tree of another kind
emit({ settings, model: kernels }, {})
// @ts-expect-error 15: a table where a tree is needed
emit({ settings, model: calibration }, {})

// @ts-expect-error 16: a parameter of another type
calibrate({ corpus }, { samples: "512", seed: 7 })
// @ts-expect-error 17: a missing parameter
calibrate({ corpus }, { samples: 512 })
// @ts-expect-error 18: an input under another port's name
calibrate({ corpora: corpus }, { samples: 512, seed: 7 })
stage("reads", {
  ...common,
  inputs: { corpus: Corpus },
  outputs: { corpus: Corpus },
  params: empty,
  run: ({ corpus }) =>
    Effect.succeed({
      // @ts-expect-error 19: a column that the input has not
      corpus: corpus.rows.pipe(Stream.map((row) => ({ text: row.title })))
    })
})
stage("forgets", {
  ...common,
  inputs: {},
  outputs: { corpus: Corpus, settings: Settings },
  params: empty,
  // @ts-expect-error 20: an output port without a result
  run: () => Effect.succeed({ corpus: Stream.empty })
})
stage("document", {
  ...common,
  inputs: {},
  outputs: { settings: Settings },
  params: empty,
  // @ts-expect-error 21: another value than the document's
  run: () => Effect.succeed({ settings: { bits: "4" } })
})
// @ts-expect-error 22: a document has no column to shard by
shard(settings, "bits")
// @ts-expect-error 23: a list is no value to shard by
shard(some({ v: vec(2) }), "v")
// @ts-expect-error 24: a whole table has nothing to gather
gather(calibration)
pipeline("typed", Schema.Struct({ samples: Schema.Int }), (params) =>
  // @ts-expect-error 25: a pipeline parameter that there is not
  calibrate({ corpus }, { samples: params.sample, seed: 7 })
)
// @ts-expect-error 26: what a pipeline computes is named refs, not stages
pipeline("stages", { calibrate })

// A stage of another plugin takes the place of one with the same ports, and no other.
const swapped = (by: typeof allocate) => by({ gradients }, { budget: 4 }).bits
const otherAllocate = stage("other-allocate", {
  ...common,
  inputs: { gradients: Gradients },
  outputs: { bits: table("Bits/1", { layer: utf8, bits: int32 }), settings: Settings },
  params: Schema.Struct({ budget: Schema.Number }),
  run: () => Effect.succeed({ bits: Stream.empty, settings: { bits: 8 } })
})
swapped(otherAllocate)
// @ts-expect-error 27: a stage with other ports in its place
swapped(calibrate)

// What a stage fails with arrives at whoever runs it, as the cause of StageFailed.
export const handled: Effect.Effect<
  unknown,
  Exclude<RunError<OutOfMemory | ArtifactError>, StageFailed>,
  Store
> = Effect.catchTag(providedProgram, "StageFailed", ({ cause }) =>
  Effect.succeed(cause._tag === "OutOfMemory" ? cause.bytes : cause.artifact)
)
// @ts-expect-error 28: what it fails with is more than one error
export const oneError: Effect.Effect<unknown, OutOfMemory, Store> = providedProgram
stage("retries", {
  ...common,
  inputs: {},
  outputs: {},
  params: empty,
  run: () => Effect.fail(new OutOfMemory({ bytes: 1 })),
  // @ts-expect-error 29: a retry that looks for what the error has not
  retry: { transient: (error) => error.minutes > 1 }
})
// @ts-expect-error 30: a layer that gives another service
export const stillNeedsCuda: Pipeline.Runnable = provide(compress, Layer.succeed(Unrelated, {}))

// No `any` comes out of what users touch: it would erase the errors and services of a whole chain.
type IsAny<A> = 0 extends 1 & A ? true : false
type Row<R> = R extends Ref<infer T, unknown, unknown> ? (T extends Table<infer F> ? F : never) : never
export const noAnyInRefs: IsAny<Ref.Error<typeof bits> & Ref.Context<typeof bits>> = false
export const noAnyInRows: IsAny<Row<typeof bits>[keyof Row<typeof bits>]> = false
export const noAnyInErrors: IsAny<Effect.Effect.Error<typeof program>> = false
export const noAnyInServices: IsAny<Effect.Effect.Context<typeof program>> = false
export const noAnyInResults: IsAny<Effect.Effect.Success<typeof program>> = false
export const noAnyInExports: Leaks<typeof core>[keyof Leaks<typeof core>] = false
/** Whether an export is `any`, takes it or gives it. */
type Leaks<M> = {
  [K in keyof M]: M[K] extends (...args: infer A) => infer R
    ? IsAny<M[K]> | IsAny<R> | IsAny<A[number]>
    : IsAny<M[K]>
}
