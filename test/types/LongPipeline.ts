/** Writes a pipeline of many stages, each with errors, services and tables of its own. */
export interface Wrong {
  /** The stage (from 1) that gets a table which its port does not take. */
  readonly stage: number
}

const header = `import { float32, gather, int32, pipeline, provide, shard, stage, table, utf8 } from "@tessera/core"
import { run } from "@tessera/engine"
import { Context, Data, Effect, Layer, Schema, Stream } from "effect"

const common = { version: "1", module: import.meta.url } as const
const Start = table("Start/1", { id: int32, name: utf8 })
const start = stage("start", {
  ...common,
  inputs: {},
  outputs: { out: Start, other: table("Other/1", { unrelated: float32 }) },
  params: Schema.Struct({ seed: Schema.Int }),
  run: () => Effect.succeed({ out: Stream.empty, other: Stream.empty })
})
const s0 = start({}, { seed: 7 })
`

/** A stage with a table of its own, its own error and, every tenth, its own service; every seventh runs per shard. */
const part = (n: number, wrong: boolean) => {
  const previous = n === 1 ? "Start" : `Table${n - 1}`
  const service = n % 10 === 0
  const each = n % 7 === 0
  const input = wrong ? "s0.other" : `s${n - 1}.out`
  return `
class Error${n} extends Data.TaggedError("Error${n}")<{ readonly at: number }> {}
${service ? `class Service${n} extends Context.Tag("Service${n}")<Service${n}, { readonly value: number }>() {}\n` : ""}const Table${n} = table("Table${n}/1", { id: int32, name: utf8, value${n}: float32 })
const stage${n} = stage("stage-${n}", {
  ...common,
  inputs: { from: ${previous}, first: Start },
  outputs: { out: Table${n} },
  params: Schema.Struct({ by: Schema.optionalWith(Schema.Number, { default: () => ${n} }) }),
  run: ({ from }, { by }) =>
    Effect.gen(function* () {
      const add = ${service ? `(yield* Service${n}).value` : "0"}
      if (by < 0) return yield* new Error${n}({ at: by })
      return { out: from.rows.pipe(Stream.map((row) => ({ id: row.id, name: row.name, value${n}: by + add }))) }
    })
})
${
  each
    ? `const s${n} = { out: gather(stage${n}.each({ from: shard(${input}, "id"), first: s0.out }, {}).out) }`
    : `const s${n} = stage${n}({ from: ${input}, first: s0.out }, { by: 1 })`
}
`
}

/** The program, and the line that a wrong wire is in. */
export const longPipeline = (stages: number, wrong?: Wrong) => {
  const parts = Array.from({ length: stages }, (_, i) => part(i + 1, wrong?.stage === i + 1))
  const services = parts.flatMap((_, i) =>
    (i + 1) % 10 === 0 ? [`Layer.succeed(Service${i + 1}, { value: 1 })`] : []
  )
  const end = `
const all = pipeline("long", { last: s${stages}.out })
export const program = run(provide(all, Layer.mergeAll(${services.join(", ")})))
`
  const text = [header, ...parts, end].join("")
  const line =
    wrong === undefined ? undefined : text.split("\n").findIndex((one) => one.includes("s0.other")) + 1
  return { text, line }
}
