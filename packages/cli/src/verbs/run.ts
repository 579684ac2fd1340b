/**
 * `tessera run`: computes the targets and shows them.
 */
import { Process, run as execute, type RunEvent, type RunOptions, type RunResult } from "@tessera/engine"
import type { Artifact } from "@tessera/store"
import { Duration, Effect, Logger, Option } from "effect"
import { fileURLToPath } from "node:url"
import * as ArtifactText from "../ArtifactText.js"
import * as Format from "../Format.js"
import * as MachineOptions from "../MachineOptions.js"
import * as Output from "../Output.js"
import * as ProgressView from "../ProgressView.js"
import { loadArgs, type PipelineArgs } from "../Load.js"
import { sharedStoreLayer } from "../StoreLayer.js"
import * as Style from "../Style.js"
import * as Telemetry from "../Telemetry.js"

export interface RunArgs extends PipelineArgs {
  readonly concurrency: Option.Option<number>
  readonly memory: Option.Option<string>
  readonly slot: ReadonlyArray<string>
  readonly executor: ReadonlyArray<string>
  readonly retries: Option.Option<number>
  readonly keepGoing: boolean
  readonly store: string
  readonly json: boolean
}

const screen = (): ProgressView.Screen => ({
  live: process.stderr.isTTY && process.env["TERM"] !== "dumb" && process.env["CI"] === undefined,
  columns: () => process.stderr.columns ?? 80,
  rows: () => process.stderr.rows ?? 24,
  write: (text) => void process.stderr.write(text),
  style: Style.of(process.stderr)
})

const targetsText = (targets: Readonly<Record<string, Artifact>>): string => {
  const all = Object.entries(targets)
  return Format.columns([
    { title: "target", cells: all.map(([name]) => name) },
    { title: "type", cells: all.map(([, { type }]) => type) },
    {
      title: "rows",
      align: "right",
      cells: all.map(([, { rows }]) => (rows === undefined ? "" : String(rows)))
    },
    { title: "size", align: "right", cells: all.map(([, { size }]) => Format.bytes(size)) },
    { title: "digest", cells: all.map(([, { digest }]) => Format.digest(digest)) }
  ])
}

const summary = (result: RunResult, elapsed: Duration.Duration) =>
  Effect.gen(function* () {
    for (const [name, artifact] of Object.entries(result.targets)) {
      const text = yield* ArtifactText.report(name, artifact)
      if (text !== undefined) yield* Output.out(`${Output.style.bold(name)}\n${text}\n`)
    }
    yield* Output.out(`${targetsText(result.targets)}\n`)
    yield* Output.out(
      `${result.executed} executed, ${result.cached} cached, ${Format.duration(Duration.toMillis(elapsed))} (run ${result.run})`
    )
  })

const logLine = Logger.make(
  ({ logLevel, message }) =>
    `${logLevel.label.toLowerCase()}: ${(Array.isArray(message) ? message : [message]).map(String).join(" ")}`
)

/** This very command, to do one execution in a process of its own. */
const child = Process.make({
  command: [process.execPath, fileURLToPath(new URL("../../bin/tessera.js", import.meta.url)), "job"]
})

const present = <A, K extends string>(name: K, value: Option.Option<A>): { readonly [N in K]?: A } =>
  // A computed name widens to a string; the record has just this one.
  (Option.isSome(value) ? { [name]: value.value } : {}) as { readonly [N in K]?: A }

const machine = (args: RunArgs) =>
  Effect.gen(function* () {
    const memory = yield* Effect.transposeOption(Option.map(args.memory, MachineOptions.memory))
    return {
      ...present("concurrency", args.concurrency),
      ...present("memory", memory),
      ...present("retries", args.retries),
      slots: yield* MachineOptions.slots(args.slot),
      executor: yield* MachineOptions.executors(args.executor),
      executors: [child],
      keepGoing: args.keepGoing
    } satisfies RunOptions
  })

export const run = (args: RunArgs) =>
  Effect.gen(function* () {
    const { pipeline, options } = yield* loadArgs(args)
    const lent = yield* machine(args)
    const compute = (onEvent: (event: RunEvent) => Effect.Effect<void>) =>
      execute(pipeline, { ...options, ...lent, onEvent })
    if (args.json) {
      return yield* compute((event) => Output.out(JSON.stringify(event))).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, Logger.withConsoleError(logLine)))
      )
    }
    const [elapsed, result] = yield* Effect.timed(
      Effect.scoped(
        Effect.gen(function* () {
          const view = yield* ProgressView.make(screen())
          const logger = Logger.map(logLine, (line) => Effect.runSync(view.print(line)))
          return yield* compute(view.onEvent).pipe(
            Effect.provide(Logger.replace(Logger.defaultLogger, logger))
          )
        })
      )
    )
    yield* summary(result, elapsed)
  }).pipe(Effect.provide([sharedStoreLayer(args.store, "read-write"), Telemetry.layer]))
