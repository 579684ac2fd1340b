/** Runs a stage of this package by itself: decodes its parameters as a run would, and its rows as their table says. */
import { NodeContext } from "@effect/platform-node"
import {
  rowSchema,
  type AnyStage,
  type Reader,
  type Port,
  type Fields,
  type Row,
  type Table
} from "@tessera/core"
import { Chunk, Effect, Schema, Stream } from "effect"

export const rowsOf = <const F extends Fields>(
  stage: AnyStage,
  table: Table<F>,
  params: object,
  inputs: Readonly<Record<string, Reader<Port>>> = {}
): Promise<ReadonlyArray<Row<Table<F>>>> =>
  Effect.gen(function* () {
    const decoded = yield* Schema.decodeUnknown(stage.spec.params)(params)
    const task = { scratch: "", slots: {}, report: () => Effect.void }
    const produced = Object.values(yield* stage.spec.run(inputs, decoded, task))[0]
    // What a stage's surface promises is not visible on the engine's view of it.
    const rows = yield* Stream.runCollect(produced as Stream.Stream<unknown, unknown>)
    return yield* Schema.decodeUnknown(Schema.Array(rowSchema(table)))(Chunk.toReadonlyArray(rows))
  }).pipe(
    (effect) => effect as Effect.Effect<ReadonlyArray<Row<Table<F>>>, unknown, NodeContext.NodeContext>,
    Effect.provide(NodeContext.layer),
    Effect.runPromise
  )
