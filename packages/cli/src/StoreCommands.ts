/**
 * The verbs about what a store holds.
 */
import { Args, Command, Options } from "@effect/cli"
import { Effect, Option } from "effect"
import { common, help, lazy } from "./CommandParts.js"

export const show = Command.make(
  "show",
  {
    artifact: Args.text({ name: "artifact" }).pipe(
      Args.withDescription(
        "A target or node.port of the last run (node.port[shard] for one shard), or the first digits of a digest."
      )
    ),
    rows: Options.integer("rows").pipe(
      Options.withAlias("n"),
      Options.withPseudoName("n"),
      Options.withDescription("Rows of a table to show. Default: 10."),
      Options.withDefault(10)
    ),
    output: Options.text("output").pipe(
      Options.withPseudoName("file"),
      Options.withDescription(
        "Write the whole table there instead: *.parquet, or *.arrow (an Arrow IPC file)."
      ),
      Options.optional
    ),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/show.js")),
      ({ show }) => show({ ...args, output: Option.getOrUndefined(args.output) })
    )
).pipe(
  Command.withDescription(
    help("Shows an artifact: a table's schema, statistics and first rows; a document; the files of a tree.", [
      ["show measurements", "A target of the last run."],
      ["show profile.influence", "An output of a node of the last run."],
      ["show 3f9a12c0 --rows 50", "By digest."],
      ["show measurements --output results.parquet", "A table as a file that other tools open."]
    ])
  )
)

export const log = Command.make(
  "log",
  {
    run: Args.text({ name: "run" }).pipe(
      Args.withDescription("A run's id or how it starts, or last. All runs where it is left out."),
      Args.optional
    ),
    follow: Options.boolean("follow").pipe(
      Options.withAlias("f"),
      Options.withDescription("Go on with what the run tells until it ends. Default run: the last.")
    ),
    limit: Options.integer("limit").pipe(
      Options.withAlias("n"),
      Options.withPseudoName("n"),
      Options.withDescription("Runs to list. Default: 20."),
      Options.withDefault(20)
    ),
    schema: Options.boolean("schema").pipe(
      Options.withDescription("The JSON Schema of an event, for programs that read logs or run --json.")
    ),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/log.js")),
      ({ log }) => log({ ...args, run: Option.getOrUndefined(args.run) })
    )
).pipe(
  Command.withDescription(
    help("Lists the runs of a store, newest first, or tells what one of them did.", [
      ["log", "When each run started, how long it took and how it ended."],
      ["log last", "The events of the last run."],
      ["log 01M8 --follow", "Those of a run that is under way, as they come."],
      ["log --schema > event.schema.json", "What the lines of a log mean."]
    ])
  )
)

const runArg = (name: string) =>
  Args.text({ name }).pipe(Args.withDescription("A run's id or how it starts, or last."))

export const diff = Command.make(
  "diff",
  { before: runArg("before"), after: runArg("after"), ...common },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/diff.js")),
      ({ diff }) => diff(args)
    )
).pipe(
  Command.withDescription(
    help("Compares two runs: parameters, keys and why they differ, results, times, and what was measured.", [
      ["diff 01M87A 01M87B", "The earlier one first."],
      ["diff 01M87A last --json", "All rows of the measurements too."]
    ])
  )
)

export const gc = Command.make(
  "gc",
  {
    keepRuns: Options.integer("keep-runs").pipe(
      Options.withPseudoName("n"),
      Options.withDescription("Keep the newest n runs of each pipeline, with all they made or used."),
      Options.optional
    ),
    keepDays: Options.float("keep-days").pipe(
      Options.withPseudoName("n"),
      Options.withDescription("Keep the runs of the last n days, with all they made or used."),
      Options.optional
    ),
    graceHours: Options.float("grace-hours").pipe(
      Options.withPseudoName("n"),
      Options.withDescription("Leave alone what is younger: a run may be about to use it. Default: 24."),
      Options.withDefault(24)
    ),
    delete: Options.boolean("delete").pipe(Options.withDescription("Remove it. Otherwise it is only told.")),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/gc.js")),
      ({ gc }) =>
        gc({
          ...args,
          keepRuns: Option.getOrUndefined(args.keepRuns),
          keepDays: Option.getOrUndefined(args.keepDays)
        })
    )
).pipe(
  Command.withDescription(
    help("Finds, and removes with --delete, what no kept run made or used. Pinned artifacts stay.", [
      ["gc --keep-runs 5", "What would go if the last five runs of each pipeline were kept."],
      ["gc --keep-days 30 --delete", "Removes it."]
    ])
  )
)

export const pin = Command.make(
  "pin",
  {
    name: Args.text({ name: "name" }).pipe(
      Args.withDescription("What to call it. All pins are listed where it is left out."),
      Args.optional
    ),
    artifact: Args.text({ name: "artifact" }).pipe(
      Args.withDescription("An artifact, as for tessera show."),
      Args.optional
    ),
    remove: Options.boolean("remove").pipe(Options.withDescription("Remove the pin.")),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/pin.js")),
      ({ pin }) =>
        pin({
          ...args,
          name: Option.getOrUndefined(args.name),
          artifact: Option.getOrUndefined(args.artifact)
        })
    )
).pipe(
  Command.withDescription(
    help("Keeps an artifact whatever tessera gc removes, or lists what is kept so.", [
      ["pin best kernels", "A target of the last run, under a name."],
      ["pin", "What is pinned."],
      ["pin best --remove", "No longer."]
    ])
  )
)
