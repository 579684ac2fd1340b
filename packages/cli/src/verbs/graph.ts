/**
 * `tessera graph`: the nodes of a pipeline and what flows between them.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { graph as overviewOf, type Overview } from "@tessera/engine"
import { Effect } from "effect"
import * as Drawing from "../Drawing.js"
import { CliError } from "../Failure.js"
import { loadArgs, type PipelineArgs } from "../Load.js"
import * as Output from "../Output.js"

export interface GraphArgs extends PipelineArgs {
  readonly format: "mermaid" | "svg" | undefined
  readonly output: string | undefined
  readonly json: boolean
}

const svg = (overview: Overview): Effect.Effect<string> =>
  Effect.promise(async () => {
    const { Graphviz } = await import("@hpcc-js/wasm-graphviz")
    const graphviz = await Graphviz.load()
    return graphviz.dot(Drawing.dot(overview), "svg")
  })

export const graph = (args: GraphArgs) =>
  Effect.gen(function* () {
    const { pipeline, options } = yield* loadArgs(args)
    const overview = yield* overviewOf(pipeline, options)
    const { output } = args
    const format = args.format ?? (output?.endsWith(".svg") === true ? "svg" : "mermaid")
    const text = args.json && args.format === undefined && output === undefined
    if (text) return yield* Output.json(overview)
    const drawn = format === "svg" ? yield* svg(overview) : Drawing.mermaid(overview)
    if (output === undefined)
      return yield* args.json ? Output.json({ format, text: drawn }) : Output.out(drawn)
    const fs = yield* FileSystem.FileSystem
    yield* fs.writeFileString(output, `${drawn.trimEnd()}\n`).pipe(
      Effect.mapError(
        (cause) =>
          new CliError({
            reason: "Output",
            where: output,
            detail: `cannot be written: ${cause.message}`,
            hint: "Check that its folder exists and can be written."
          })
      )
    )
    if (args.json) yield* Output.json({ format, output })
  })
