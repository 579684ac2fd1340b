/** A small pipeline whose stages note that they ran. */
import { document, float64, gather, pipeline, shard, stage, table, utf8 } from "@tessera/core"
import { Data, Effect, Schema, Stream } from "effect"

export const Numbers = table("Numbers/1", { group: utf8, value: float64 })
export const Total = document("Total/1", Schema.Struct({ total: Schema.Number, note: Schema.String }))

export class Broken extends Data.TaggedError("Broken")<{ readonly group: string }> {
  override get message() {
    return `group ${this.group} is broken`
  }
}

/** Executions since the test began, such as `scale b`. */
export const ran: Array<string> = []
/** Groups that `scale` fails on. */
export const broken = new Set<string>()

/** This module, for stages that a test defines on the spot. */
export const module = import.meta.url
const note = (what: string) => Effect.sync(() => void ran.push(what))

export const source = stage("source", {
  version: "1",
  module: import.meta.url,
  inputs: {},
  outputs: { numbers: Numbers },
  params: Schema.Struct({
    groups: Schema.optionalWith(Schema.Array(Schema.String), { default: () => ["a", "b", "c"] }),
    /** Changes the code path but not the result. */
    note: Schema.optionalWith(Schema.String, { default: () => "" })
  }),
  run: (_, { groups }) =>
    Effect.as(note("source"), {
      numbers: Stream.fromIterable(groups.flatMap((group) => [1, 2, 3].map((value) => ({ group, value }))))
    })
})

export const scale = stage("scale", {
  version: "1",
  module: import.meta.url,
  inputs: { numbers: Numbers },
  outputs: { scaled: Numbers },
  params: Schema.Struct({ by: Schema.optionalWith(Schema.Number, { default: () => 2 }) }),
  run: ({ numbers }, { by }) =>
    Effect.gen(function* () {
      const rows = [...(yield* Stream.runCollect(numbers.rows))]
      const group = [...new Set(rows.map((row) => row.group))].join("")
      yield* note(`scale ${group}`)
      if (broken.has(group)) return yield* new Broken({ group })
      return { scaled: Stream.fromIterable(rows.map((row) => ({ ...row, value: row.value * by }))) }
    })
})

export const total = stage("total", {
  version: "1",
  module: import.meta.url,
  inputs: { numbers: Numbers },
  outputs: { total: Total },
  params: Schema.Struct({ note: Schema.optionalWith(Schema.String, { default: () => "sum" }) }),
  run: ({ numbers }, params) =>
    Effect.gen(function* () {
      yield* note("total")
      const sum = yield* Stream.runFold(numbers.rows, 0, (all, row) => all + row.value)
      return { total: { total: sum, note: params.note } }
    })
})

/** source → scale, per group → total. */
export const sums = pipeline(
  "sums",
  Schema.Struct({
    groups: Schema.optionalWith(Schema.Array(Schema.String), { default: () => ["a", "b", "c"] }),
    by: Schema.optionalWith(Schema.Number, { default: () => 2 })
  }),
  ({ groups, by }) => {
    const { numbers } = source({}, { groups })
    const { scaled } = scale.each({ numbers: shard(numbers, "group") }, { by })
    const whole = gather(scaled)
    return { total: total({ numbers: whole }, {}).total, scaled: whole }
  }
)
