/**
 * The verbs that move runs from store to store.
 */
import { Args, Command, Options } from "@effect/cli"
import { Effect } from "effect"
import { common, help, lazy } from "./CommandParts.js"

export const exportVerb = Command.make(
  "export",
  {
    run: Args.text({ name: "run" }).pipe(Args.withDescription("A run's id or how it starts, or last.")),
    output: Options.text("output").pipe(
      Options.withAlias("o"),
      Options.withPseudoName("file"),
      Options.withDescription("The tar to write. One that is there is replaced.")
    ),
    external: Options.boolean("external").pipe(
      Options.withDescription(
        "Put in the files of folders that are read in place, such as a model's. Otherwise their size is told."
      )
    ),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/export.js")),
      (verb) => verb.exportTo(args)
    )
).pipe(
  Command.withDescription(
    help(
      "Writes a run with its log, its results and all their blobs to one tar. Equal runs give equal bytes.",
      [
        ["export last --output run.tar", "The last run."],
        ["export 01M87A --output run.tar --external", "With the model folder that it read."]
      ]
    )
  )
)

export const importVerb = Command.make(
  "import",
  {
    file: Args.text({ name: "file" }).pipe(Args.withDescription("What tessera export wrote.")),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/import.js")),
      (verb) => verb.importFrom(args)
    )
).pipe(
  Command.withDescription(
    help(
      "Brings an exported run into the store. Everything is checked first; what is there already stays as it is.",
      [["import run.tar", "Then run, log, show and diff know it like a run of one's own."]]
    )
  )
)
