/**
 * Graphs of 1,000 nodes that do next to nothing: each writes a document of one number.
 */
import { type ArtifactError, document, type Document, pipeline, type Ref, stage } from "@tessera/core"
import { Effect, Schema } from "effect"

const NODES = 1000

const Count = document("Count/1", Schema.Int)
const module = import.meta.url
type Counted = Ref<Document<number>, ArtifactError>

const leaf = stage("leaf", {
  version: "1",
  module,
  inputs: {},
  outputs: { count: Count },
  params: Schema.Struct({ i: Schema.Int }),
  run: (_, { i }) => Effect.succeed({ count: i })
})

const next = stage("next", {
  version: "1",
  module,
  inputs: { count: Count },
  outputs: { count: Count },
  params: Schema.Struct({}),
  run: ({ count }) => Effect.map(count.value, (value) => ({ count: value + 1 }))
})

const name = (i: number) => `node${i}`
const all = Array.from({ length: NODES }, (_, i) => i)

const join = stage("join", {
  version: "1",
  module,
  inputs: Object.fromEntries(all.map((i) => [name(i), Count])),
  outputs: { count: Count },
  params: Schema.Struct({}),
  run: (inputs) =>
    Effect.map(
      Effect.forEach(Object.values(inputs), ({ value }) => value),
      (values) => ({ count: values.reduce((sum, value) => sum + value, 0) })
    )
})

/** Each node adds one to the one before. */
export const chain = pipeline("chain", {
  last: all.slice(1).reduce<Counted>((count) => next({ count }, {}).count, leaf({}, { i: 0 }).count)
})

/** Independent nodes, and one that sums them. */
export const fan = pipeline("fan", {
  sum: join(Object.fromEntries(all.map((i) => [name(i), leaf({}, { i }).count])), {}).count
})
