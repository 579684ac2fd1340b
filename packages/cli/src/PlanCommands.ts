/**
 * The verbs about plans of sparse attention.
 */
import { Args, Command, Options } from "@effect/cli"
import { Effect, Option } from "effect"
import { common, help, lazy } from "./CommandParts.js"
import type { PlanArgs } from "./PlanFile.js"

const text = (name: string, pseudo: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName(pseudo),
    Options.withDescription(description),
    Options.optional
  )
const count = (name: string, description: string) =>
  Options.integer(name).pipe(
    Options.withPseudoName("n"),
    Options.withDescription(description),
    Options.optional
  )
const share = (name: string, description: string) =>
  Options.float(name).pipe(
    Options.withPseudoName("x"),
    Options.withDescription(description),
    Options.optional
  )

const planOptions = {
  file: Args.text({ name: "file" }).pipe(
    Args.withDescription(
      "A plan document or candidates, an official alpha/beta file, *.csv, a DuoAttention folder, or an artifact as for tessera show."
    )
  ),
  plan: text("plan", "name", "Which plan of several: a candidate's name, or a plan_id of a CSV file."),
  lengths: text(
    "lengths",
    "n,n",
    "Lengths N in tokens, such as 4096,8192 or 4k,8k. Default: those of the plan, else 4k,8k,16k."
  ),
  fold: Options.boolean("fold").pipe(
    Options.withDescription(
      "Give the query heads of each KV head one rule that keeps at least what each of them does at the lengths."
    )
  ),
  name: text("name", "text", "What to call the plan. Default: the file's name."),
  model: text("model", "folder", "The model of a file that names none: a folder with its config.json."),
  shape: text("shape", "key=n,…", "The same in numbers: layers=32,query-heads=32,kv-heads=8,head-dim=128."),
  block: count("block", "Tokens per block, where the file does not say. Default: 64."),
  sink: count("sink", "Tokens of the sink, where the file does not say. Default: 64, or DuoAttention's."),
  recent: count(
    "recent",
    "Tokens of DuoAttention's recent window, to deploy with another than its config's."
  ),
  threshold: share("threshold", "DuoAttention: heads of at least this score are full. Default: 0.5."),
  sparsity: share("sparsity", "DuoAttention: the share of heads that are not full."),
  ...common
}

type Parsed = {
  readonly [K in keyof PlanArgs["foreign"]]: Option.Option<NonNullable<PlanArgs["foreign"][K]>>
} & {
  readonly file: string
  readonly plan: Option.Option<string>
  readonly lengths: Option.Option<string>
  readonly fold: boolean
  readonly store: string
  readonly json: boolean
}

const planArgs = (parsed: Parsed): PlanArgs => ({
  file: parsed.file,
  plan: Option.getOrUndefined(parsed.plan),
  lengths: Option.getOrUndefined(parsed.lengths),
  fold: parsed.fold,
  foreign: {
    name: Option.getOrUndefined(parsed.name),
    model: Option.getOrUndefined(parsed.model),
    shape: Option.getOrUndefined(parsed.shape),
    block: Option.getOrUndefined(parsed.block),
    sink: Option.getOrUndefined(parsed.sink),
    recent: Option.getOrUndefined(parsed.recent),
    threshold: Option.getOrUndefined(parsed.threshold),
    sparsity: Option.getOrUndefined(parsed.sparsity)
  },
  store: parsed.store,
  json: parsed.json
})

export const planInfo = Command.make(
  "plan-info",
  {
    ...planOptions,
    bytes: count("bytes", "Bytes of a stored key or value element. Default: the model's, else 2."),
    svg: text("svg", "file", "Draw a heat map of the spans there too: layers × heads, a panel a length.")
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/plan-info.js")),
      (verb) =>
        verb.planInfo({
          ...planArgs(args),
          bytes: Option.getOrUndefined(args.bytes),
          svg: Option.getOrUndefined(args.svg)
        })
    )
).pipe(
  Command.withDescription(
    help(
      "Tells what a plan of sparse attention keeps and costs: rules, spans, densities, KV bytes, prefill.",
      [
        ["plan-info plan", "The plan of the last run."],
        ["plan-info optimise.candidates --plan moa-50-1 --svg spans.svg", "One of several, with a picture."],
        ["plan-info moa_alpha_beta.json --model my-model --lengths 4k,8k", "An official file."],
        ["plan-info my-pattern --model my-model --sparsity 0.5", "A DuoAttention folder."]
      ]
    )
  )
)

export const planConvert = Command.make(
  "plan-convert",
  {
    ...planOptions,
    to: Options.choice("to", ["official", "duo", "flex", "csv", "plan"]).pipe(
      Options.withDescription(
        "official: alpha/beta JSON. duo: a DuoAttention folder. flex: FlexAttention masks in Python, at the one length of --lengths. csv. plan: a plan document."
      )
    ),
    output: Options.text("output").pipe(
      Options.withAlias("o"),
      Options.withPseudoName("path"),
      Options.withDescription("The file to write, or duo's folder. Default: stdout, except for duo."),
      Options.optional
    )
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/plan-convert.js")),
      (verb) =>
        verb.planConvert({
          ...planArgs(args),
          to: args.to,
          output: Option.getOrUndefined(args.output)
        })
    )
).pipe(
  Command.withDescription(
    help("Writes a plan of sparse attention in another form. What the form cannot say is refused.", [
      ["plan-convert plan --to flex --lengths 8192 --output masks.py", "Masks of the last run's plan."],
      [
        "plan-convert moa_alpha_beta.json --model my-model --fold --to plan -o plan.json",
        "Rules per KV head."
      ],
      ["plan-convert plan --to csv", "On stdout."]
    ])
  )
)
