/**
 * Loads a pipeline file: a TypeScript module whose default export is a pipeline.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import * as Path from "@effect/platform/Path"
import { edges, Graph, type Pipeline } from "@tessera/core"
import { Effect, Either, Predicate, Schema } from "effect"
import { fileURLToPath, pathToFileURL } from "node:url"
import { CliError, messageOf } from "./Failure.js"
import { nearest } from "./Nearest.js"
import * as Params from "./Params.js"

/** A pipeline as the user asked for it. */
export interface Loaded {
  readonly pipeline: Pipeline.Runnable
  readonly options: {
    readonly params: Readonly<Record<string, unknown>>
    readonly set: Readonly<Record<string, Readonly<Record<string, unknown>>>>
    readonly targets?: ReadonlyArray<string>
    /** `file:` URL of the pipeline file. */
    readonly module: string
  }
}

/** What the verbs that take a pipeline share. */
export interface PipelineArgs {
  readonly pipeline: string
  readonly param: ReadonlyArray<string>
  readonly set: ReadonlyArray<string>
  readonly target: ReadonlyArray<string>
}

const example = `Export one: export default pipeline("name", { target })`

/** Whether every service is provided is known to the compiler only; a missing one is told when the run asks for it. */
const isPipeline = (value: unknown): value is Pipeline.Runnable =>
  Predicate.hasProperty(value, "build") &&
  Predicate.hasProperty(value, "layer") &&
  Predicate.hasProperty(value, "name") &&
  Predicate.hasProperty(value, "params") &&
  Predicate.isFunction(value.build) &&
  Schema.isSchema(value.params)

const fail = (where: string, detail: string, hint?: string) =>
  new CliError({ reason: "PipelineFile", where, detail, ...(hint === undefined ? {} : { hint }) })

/** `file:line:column` of the first frame that is neither Node's nor a package's. */
const frame = (error: Error): string | undefined => {
  for (const line of (error.stack ?? "").split("\n")) {
    const found = /(file:\/\/\/[^\s()]+?|\/[^\s()]+?):(\d+)(?::(\d+))?\)?$/.exec(line)
    if (found === null || /node_modules|\(node:/.test(line)) continue
    const [, file = "", at, column] = found
    const path = file.startsWith("file:")
      ? fileURLToPath(file.replace(/\?.*$/, ""))
      : file.replace(/\?.*$/, "")
    return column === undefined ? `${path}:${at}` : `${path}:${at}:${column}`
  }
  return undefined
}

const importFailure = (file: string, cause: unknown): CliError => {
  const message = messageOf(cause)
  const missing = /^Cannot find (?:package|module) '([^']+)'(?: imported from (.+))?/.exec(message)
  if (missing !== null) {
    const [, what = "", from] = missing
    return fail(
      from ?? file,
      `cannot find ${what}`,
      what.startsWith(".") || what.startsWith("/")
        ? "Check the path of the import."
        : `Check the spelling, or install it in the folder of the pipeline: npm install ${what}`
    )
  }
  const transform = /^Transform failed with \d+ errors?:\n([\s\S]*)$/.exec(message)
  if (transform?.[1] !== undefined) {
    const [, where = file, detail = transform[1]] =
      /^(.+?:\d+:\d+): (?:ERROR|error): (.*)/.exec(transform[1]) ?? []
    return fail(where, `syntax error: ${detail}`)
  }
  return fail(
    (cause instanceof Error ? frame(cause) : undefined) ?? file,
    cause instanceof Error && cause.name !== "Error" ? `${cause.name}: ${message}` : message
  )
}

const module = (file: string): Effect.Effect<object, CliError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const path = yield* Path.Path
    const absolute = path.resolve(file)
    const info = yield* Effect.option(fs.stat(absolute))
    if (info._tag === "None") {
      const folder = path.dirname(absolute)
      const beside = yield* fs.readDirectory(folder).pipe(Effect.orElseSucceed(() => []))
      const near = nearest(
        path.basename(absolute),
        beside.filter((name) => /\.[cm]?[jt]s$/.test(name))
      )
      return yield* fail(
        file,
        "no such file",
        near === undefined
          ? "Give the path of a pipeline, a TypeScript file."
          : `Did you mean ${path.join(path.dirname(file), near)}?`
      )
    }
    if (info.value.type !== "File")
      return yield* fail(file, "is not a file", "Give the path of a pipeline, a TypeScript file.")
    return yield* Effect.tryPromise({
      try: (): Promise<object> => import(pathToFileURL(absolute).href),
      catch: (cause) => importFailure(absolute, cause)
    })
  })

export const loadArgs = (
  args: PipelineArgs
): Effect.Effect<Loaded, CliError, FileSystem.FileSystem | Path.Path> =>
  Effect.gen(function* () {
    const exported = yield* module(args.pipeline)
    const pipeline = Predicate.hasProperty(exported, "default") ? exported.default : undefined
    if (pipeline === undefined) return yield* fail(args.pipeline, "has no default export", example)
    if (!isPipeline(pipeline))
      return yield* fail(args.pipeline, "its default export is not a pipeline", example)
    const params = yield* Params.params(pipeline, args.param)
    // What keeps the graph from being built is told by the engine, with the nearest names that exist.
    const built = yield* Effect.either(Effect.flatten(Effect.try(() => pipeline.build(params))))
    const nodes = Either.isRight(built) ? Graph.nodes(edges(built.right)) : []
    const set = yield* Params.set(nodes, args.set)
    const targets = args.target.length === 0 ? {} : { targets: args.target }
    const path = yield* Path.Path
    const file = pathToFileURL(path.resolve(args.pipeline)).href
    return { pipeline, options: { params, set, module: file, ...targets } }
  })
