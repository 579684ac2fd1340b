/**
 * `tessera log`: the runs of a store, or what one of them told.
 */
import { eventSchema, Logbook, type RunEvent } from "@tessera/engine"
import { Chunk, Effect, Option, Stream } from "effect"
import { CliError } from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { resolveRun } from "../Reference.js"
import { storeLayer } from "../StoreLayer.js"

export interface LogArgs {
  /** A run's id or its start, or `last`; all runs where it is left out. */
  readonly run: string | undefined
  readonly follow: boolean
  readonly limit: number
  readonly schema: boolean
  readonly store: string
  readonly json: boolean
}

const time = (at: string): string => at.replace(/^.*T|\..*$/g, "")

const outcomeText = (outcome: Logbook.RunSummary["outcome"]): string => {
  const { good, bad, warn } = Output.style
  return outcome === "succeeded" ? good(outcome) : outcome === "failed" ? bad(outcome) : warn(outcome)
}

const table = (all: ReadonlyArray<Logbook.RunSummary>): string =>
  Format.columns([
    { title: "run", cells: all.map(({ run }) => run) },
    { title: "pipeline", cells: all.map(({ pipeline }) => pipeline) },
    { title: "started", cells: all.map(({ startedAt }) => Format.moment(startedAt)) },
    {
      title: "took",
      align: "right",
      cells: all.map(({ millis }) => (millis === undefined ? "" : Format.duration(millis)))
    },
    { title: "executed", align: "right", cells: all.map(({ executed }) => String(executed)) },
    { title: "cached", align: "right", cells: all.map(({ cached }) => String(cached)) },
    { title: "outcome", cells: all.map(({ outcome }) => outcomeText(outcome)) }
  ])

const said = (event: RunEvent): string => {
  const { good, bad, dim, warn, bold } = Output.style
  const at =
    "node" in event && event.node !== undefined
      ? `${event.node}${"shard" in event && event.shard !== undefined ? `[${event.shard}]` : ""}`
      : ""
  switch (event._tag) {
    case "RunStarted":
      return bold(`run ${event.run} of ${event.pipeline}, ${event.nodes.length} nodes`)
    case "NodeSharded":
      return dim(`  ${at}  ${event.shards.length} shards`)
    case "TaskCached":
      return `${dim("=")} ${at}  ${dim(`cached, ${Format.digest(event.key)}`)}`
    case "TaskStarted":
      return `> ${at}  ${dim(event.reason)}`
    case "TaskProgress":
      return dim(`  ${at}  ${event.done} ${event.unit}`)
    case "TaskCommitted":
      return `${good("✓")} ${at}  ${dim(`${Format.duration(event.millis)}, ${Format.digest(event.key)}`)}`
    case "TaskRetried":
      return `${warn("!")} ${at}  ${event.error}; attempt ${event.attempt + 1} after ${Format.duration(event.pauseMillis)}`
    case "NodeSkipped":
      return `${warn("!")} ${at}  left out, all or in part, for want of ${event.because.join(", ")}`
    case "TaskFailed":
      return `${bad("✗")} ${at}  ${event.error}`
    case "Warning":
      return `${warn("!")} ${at === "" ? "" : `${at}  `}${event.detail}`
    case "RunFinished":
      return `${outcomeText(event.outcome)} after ${Format.duration(event.millis)}`
  }
}

const list = ({ limit, json }: LogArgs) =>
  Effect.gen(function* () {
    const all = Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(Logbook.runs, limit)))
    if (json) return yield* Output.json(all)
    yield* Output.out(all.length === 0 ? "Nothing has run with this store yet." : table(all))
  })

export const log = (args: LogArgs) =>
  Effect.gen(function* () {
    if (args.schema) return yield* Output.json(eventSchema)
    if (args.run === undefined && !args.follow) return yield* list(args)
    const run = yield* resolveRun(args.run ?? "last")
    const tell = (event: RunEvent) =>
      Output.out(args.json ? JSON.stringify(event) : `${Output.style.dim(time(event.at))}  ${said(event)}`)
    if (!args.follow) return yield* Stream.runForEach(Logbook.events(run), tell)
    const last = yield* Logbook.follow(run).pipe(Stream.tap(tell), Stream.runLast)
    if (Option.isSome(last) && last.value._tag === "RunFinished") return
    return yield* new CliError({
      reason: "Killed",
      where: `run ${run}`,
      detail: "was killed: its process is gone, and it never said that it ended",
      hint: "What it committed is kept; run the same command again to go on from there."
    })
  }).pipe(Effect.provide(storeLayer(args.store)))
