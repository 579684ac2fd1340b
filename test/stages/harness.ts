/** What stages that need a model run with, and the rows that arrive at the end of a wire. */
import { NodeContext } from "@effect/platform-node"
import type { Fields, Ref, Row, Table } from "@tessera/core"
import type { ModelRuntime } from "@tessera/runtime"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { MemoryStore } from "@tessera/store"
import * as testing from "@tessera/testing"
import { Effect, Layer } from "effect"

export const services = RuntimeCpu.layer().pipe(Layer.provideMerge(NodeContext.layer))

/** Runs stages in a real engine and a store of their own. */
export const rowsOf = <F extends Fields>(
  type: Table<F>,
  ref: Ref<Table<F>, unknown, ModelRuntime | NodeContext.NodeContext>
): Effect.Effect<ReadonlyArray<Row<Table<F>>>, unknown> =>
  Effect.provide(testing.rowsOf(type, ref), Layer.merge(services, MemoryStore.layer))
