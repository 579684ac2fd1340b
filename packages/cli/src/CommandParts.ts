/**
 * What the verbs' command lines share.
 */
import { HelpDoc, Options, Span } from "@effect/cli"
import { Config, Effect } from "effect"

const store = Options.text("store").pipe(
  Options.withPseudoName("folder"),
  Options.withDescription(
    "Where results are kept. Default: .tessera in the current folder, or TESSERA_STORE."
  ),
  Options.withFallbackConfig(Config.nonEmptyString("TESSERA_STORE")),
  Options.withDefault(".tessera")
)

export const json = Options.boolean("json").pipe(
  Options.withDescription("Write JSON to stdout: a line per event for run, one document for the other verbs.")
)

export const verbose = Options.boolean("verbose").pipe(
  Options.withDescription("When something fails, show where in the code. Also: TESSERA_DEBUG=1.")
)

export const common = { store, json, verbose }

/** A description, then examples. */
export const help = (
  description: string,
  examples: ReadonlyArray<readonly [command: string, what: string]>
): HelpDoc.HelpDoc =>
  HelpDoc.blocks([
    HelpDoc.p(description),
    HelpDoc.h1("EXAMPLES"),
    HelpDoc.descriptionList(
      examples.map(
        ([command, what]) =>
          [Span.code(`tessera ${command}`), HelpDoc.p(what)] as [Span.Span, HelpDoc.HelpDoc]
      ) as [[Span.Span, HelpDoc.HelpDoc], ...Array<[Span.Span, HelpDoc.HelpDoc]>]
    )
  ])

export const lazy = <M>(module: () => Promise<M>) => Effect.promise(module)
