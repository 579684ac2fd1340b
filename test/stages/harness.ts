/** Runs stages in a real engine and a store of their own, from rows and values that a test writes down. */
import { NodeContext } from "@effect/platform-node"
import {
  type Document,
  type Fields,
  pipeline,
  type Ref,
  type Row,
  sha256,
  stage,
  type Table
} from "@tessera/core"
import { run } from "@tessera/engine"
import type { ModelRuntime } from "@tessera/runtime"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { MemoryStore, Store } from "@tessera/store"
import { Effect, Layer, Schema, Stream } from "effect"

const module = import.meta.url

// What is given is known to the stage alone; its digest makes the key.
const Given = Schema.Struct({ digest: Schema.String })
const digestOf = (content: unknown) => ({ digest: sha256(JSON.stringify(content)) })

/** A table of these rows. */
export const given = <const F extends Fields>(type: Table<F>, rows: ReadonlyArray<Row<Table<F>>>) =>
  stage("given", {
    version: "1",
    module,
    inputs: {},
    outputs: { rows: type },
    params: Given,
    run: () => Effect.succeed({ rows: Stream.fromIterable(rows) })
  })({}, digestOf(rows)).rows

/** A document of this value. */
export const givenValue = <A>(type: Document<A>, value: A) =>
  stage("given", {
    version: "1",
    module,
    inputs: {},
    outputs: { value: type },
    params: Given,
    run: () => Effect.succeed({ value })
  })({}, digestOf(value)).value

const services = Layer.mergeAll(MemoryStore.layer, RuntimeCpu.layer()).pipe(
  Layer.provideMerge(NodeContext.layer)
)

/** The rows that arrive at the end of a wire. */
export const rowsOf = <F extends Fields>(
  type: Table<F>,
  ref: Ref<Table<F>, unknown, ModelRuntime | NodeContext.NodeContext>
): Effect.Effect<ReadonlyArray<Row<Table<F>>>, unknown> =>
  Effect.gen(function* () {
    const { targets } = yield* run(pipeline("rows", { target: ref }))
    const artifact = yield* Effect.fromNullable(targets["target"])
    const store = yield* Store
    const reader = yield* store.open(type, artifact)
    return [...(yield* Stream.runCollect(reader.rows))]
  }).pipe(Effect.scoped, Effect.provide(services))
