/**
 * The command line: verbs, arguments and options. What a verb does is imported when it is asked for.
 */
import { Args, Command, HelpDoc, Options, Usage } from "@effect/cli"
import { Effect, Option } from "effect"
import { common, help, json, lazy, verbose } from "./CommandParts.js"
import { doctor } from "./DoctorCommand.js"
import { keys } from "./KeyCommands.js"
import { diff, gc, log, pin, show } from "./StoreCommands.js"
import { exportVerb, importVerb } from "./MoveCommands.js"
import { planConvert, planInfo } from "./PlanCommands.js"

const pipeline = Args.text({ name: "pipeline" }).pipe(
  Args.withDescription("A TypeScript file whose default export is a pipeline.")
)

const param = Options.text("param").pipe(
  Options.withAlias("p"),
  Options.withPseudoName("name=value"),
  Options.withDescription(
    "A parameter of the pipeline. Values are JSON where they parse as JSON, else text."
  ),
  Options.repeated
)

const set = Options.text("set").pipe(
  Options.withPseudoName("node.param=value"),
  Options.withDescription(
    "A parameter of one node; dots lead into nested parameters. See the nodes with: tessera plan."
  ),
  Options.repeated
)

const target = Options.text("target").pipe(
  Options.withAlias("t"),
  Options.withPseudoName("name"),
  Options.withDescription("Compute only this target of the pipeline and what it needs."),
  Options.repeated
)

const graphOptions = { param, set, target }

const run = Command.make(
  "run",
  {
    pipeline,
    ...graphOptions,
    concurrency: Options.integer("concurrency").pipe(
      Options.withAlias("c"),
      Options.withPseudoName("n"),
      Options.withDescription("Executions at once. Default: the number of cores."),
      Options.optional
    ),
    memory: Options.text("memory").pipe(
      Options.withPseudoName("size"),
      Options.withDescription("Memory for executions at once, such as 48GB. Default: the machine's."),
      Options.optional
    ),
    slot: Options.text("slot").pipe(
      Options.withPseudoName("name=slots"),
      Options.withDescription(
        "Named slots: how many (gpu=2) or which (gpu=[0,3]). Default: the machine's GPUs."
      ),
      Options.repeated
    ),
    executor: Options.text("executor").pipe(
      Options.withPseudoName("node=name"),
      Options.withDescription("Where a node, or all nodes of a stage, run: inline or process."),
      Options.repeated
    ),
    retries: Options.integer("retries").pipe(
      Options.withPseudoName("n"),
      Options.withDescription(
        "Attempts after the first that a transient failure gets. Default: what stages say."
      ),
      Options.optional
    ),
    keepGoing: Options.boolean("keep-going").pipe(
      Options.withAlias("k"),
      Options.withDescription("After a failure go on with all that does not need what failed.")
    ),
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/run.js")),
      ({ run }) => run(args)
    )
).pipe(
  Command.withDescription(
    help("Computes the targets of a pipeline. What is already computed is taken from the store.", [
      ["run pipelines/quickstart.ts", "Everything, with the defaults."],
      ["run moa.ts --param density=0.25 --target plan", "One target, with another parameter."],
      ["run moa.ts --set profile.objective=cross-entropy", "With a parameter of one stage."],
      [
        "run moa.ts --slot gpu=4 --executor profile-item=process",
        "Each profile in a process with its own GPU."
      ],
      ["run moa.ts --keep-going", "Failures are reported together at the end."],
      ["run moa.ts --json > events.ndjson", "Events as JSON lines; errors are the last line."]
    ])
  )
)

const plan = Command.make("plan", { pipeline, ...graphOptions, ...common }, (args) =>
  Effect.flatMap(
    lazy(() => import("./verbs/plan.js")),
    ({ plan }) => plan(args)
  )
).pipe(
  Command.withDescription(
    help("Tells what would run, what is cached, and why. Computes nothing.", [
      ["plan moa.ts", "Each node with its status and reason."],
      ["plan moa.ts --param density=0.25", "What a change of a parameter would cost."]
    ])
  )
)

const explain = Command.make(
  "explain",
  {
    pipeline,
    node: Args.text({ name: "node" }).pipe(Args.withDescription("A node, as tessera plan names it.")),
    ...graphOptions,
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/explain.js")),
      ({ explain }) => explain(args)
    )
).pipe(
  Command.withDescription(
    help("Tells what differs from the last execution of a node, and everything its result depends on.", [
      ["explain moa.ts optimise", "Why it would run, or that it is cached."],
      ["explain moa.ts optimise --param density=0.25", "What this change means to the node."]
    ])
  )
)

const accept = Command.make(
  "accept",
  {
    pipeline,
    node: Args.text({ name: "node" }).pipe(Args.withDescription("A node, as tessera plan names it.")),
    why: Options.text("why").pipe(
      Options.withPseudoName("text"),
      Options.withDescription("Why the edit changes no result. It is kept with the results.")
    ),
    by: Options.text("by").pipe(
      Options.withPseudoName("name"),
      Options.withDescription("Who says so. Default: the user of this process."),
      Options.optional
    ),
    ...graphOptions,
    ...common
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/accept.js")),
      ({ accept }) => accept({ ...args, by: Option.getOrUndefined(args.by) })
    )
).pipe(
  Command.withDescription(
    help(
      "Takes a node's results from before an edit of its code for those after it. Refuses any other difference.",
      [['accept moa.ts profile-item --why "only renamed a variable"', "The next run finds it cached."]]
    )
  )
)

const graph = Command.make(
  "graph",
  {
    pipeline,
    ...graphOptions,
    format: Options.choice("format", ["mermaid", "svg"]).pipe(
      Options.withAlias("f"),
      Options.withDescription(
        "mermaid: text for Markdown. svg: a drawing. Default: mermaid, or svg for --output *.svg."
      ),
      Options.optional
    ),
    output: Options.text("output").pipe(
      Options.withAlias("o"),
      Options.withPseudoName("file"),
      Options.withDescription("Write to a file instead of stdout."),
      Options.optional
    ),
    json,
    verbose
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/graph.js")),
      ({ graph }) =>
        graph({
          ...args,
          format: Option.getOrUndefined(args.format),
          output: Option.getOrUndefined(args.output)
        })
    )
).pipe(
  Command.withDescription(
    help("Draws the nodes of a pipeline and what flows between them.", [
      ["graph moa.ts", "Mermaid text on stdout."],
      ["graph moa.ts --output moa.svg", "A drawing."]
    ])
  )
)

const verify = Command.make(
  "verify",
  {
    pipeline: Args.text({ name: "pipeline" }).pipe(
      Args.withDescription("Execute its stored results again and compare. Without: read blobs only."),
      Args.optional
    ),
    node: Options.text("node").pipe(
      Options.withPseudoName("name"),
      Options.withDescription("With a pipeline: only this node."),
      Options.repeated
    ),
    ...graphOptions,
    ...common
  },
  (args) =>
    Option.match(args.pipeline, {
      onNone: () =>
        Effect.flatMap(
          lazy(() => import("./verbs/verify.js")),
          ({ verify }) => verify(args)
        ),
      onSome: (pipeline) =>
        Effect.flatMap(
          lazy(() => import("./verbs/reproduce.js")),
          ({ reproduce }) => reproduce({ ...args, pipeline })
        )
    })
).pipe(
  Command.withDescription(
    help("Checks that a store is what it says: its blobs, or that its results come out again.", [
      [
        "verify",
        "Reads every blob again; ends with 3 where one is damaged. It is moved aside, and a run recomputes it."
      ],
      [
        "verify moa.ts --node optimise",
        "Executes the node again for each stored result; ends with 1 where one differs. Nothing is replaced."
      ]
    ])
  )
)

const job = Command.make(
  "job",
  {
    file: Args.text({ name: "file" }).pipe(
      Args.withDescription("A job file: a pipeline's module, a node, its inputs by digest, a store.")
    ),
    json,
    verbose
  },
  (args) =>
    Effect.flatMap(
      lazy(() => import("./verbs/job.js")),
      ({ job }) => job(args)
    )
).pipe(
  Command.withDescription(
    help(
      "Does one execution that an executor wrote down; run starts it, you need not. The result is left beside the file.",
      [
        [
          "job job.json",
          "Progress on stdout; the outputs are in the store, their digests in job.result.json."
        ]
      ]
    )
  )
)

export const tessera = Command.make("tessera").pipe(
  Command.withDescription(
    HelpDoc.blocks([
      HelpDoc.p("Runs typed, cached pipelines written in TypeScript."),
      HelpDoc.enumeration([
        HelpDoc.p("run <pipeline>: computes its targets; what is already computed is taken from the store"),
        HelpDoc.p("plan <pipeline>: what would run, what is cached, and why"),
        HelpDoc.p("explain <pipeline> <node>: what differs from the node's last execution"),
        HelpDoc.p("accept <pipeline> <node>: keeps its results in spite of an edit of its code"),
        HelpDoc.p("show <artifact>: the schema, statistics and first rows of a result"),
        HelpDoc.p("log [run]: the runs of a store, or what one of them did"),
        HelpDoc.p("diff <before> <after>: two runs side by side"),
        HelpDoc.p("graph <pipeline>: draws it, as Mermaid text or SVG"),
        HelpDoc.p("plan-info <file>: what a plan of sparse attention keeps and costs"),
        HelpDoc.p("plan-convert <file>: writes one in another form"),
        HelpDoc.p("gc: what the store no longer needs, and its removal"),
        HelpDoc.p("pin [name] [artifact]: artifacts that gc leaves alone"),
        HelpDoc.p("verify [pipeline]: reads every blob again, or executes stored results again and compares"),
        HelpDoc.p("export <run>: a run with its log, results and blobs, as one tar"),
        HelpDoc.p("import <file>: brings an exported run into the store"),
        HelpDoc.p("keys new|public <file>: keys that sign results which machines share"),
        HelpDoc.p("doctor: what pipelines need of this machine, and whether it is there"),
        HelpDoc.p("job <file>: one execution that run, or a cluster, wrote down")
      ]),
      HelpDoc.p("tessera <verb> --help tells more, with examples."),
      HelpDoc.p(
        "Exit codes: 0 ok, 1 a stage failed, 2 wrong pipeline, parameter or command line, 3 store, 130 interrupted."
      )
    ])
  ),
  Command.withSubcommands([
    run,
    plan,
    explain,
    accept,
    show,
    log,
    diff,
    graph,
    planInfo,
    planConvert,
    gc,
    pin,
    verify,
    exportVerb,
    importVerb,
    keys,
    doctor,
    job
  ])
)

const usages: Readonly<Record<string, Usage.Usage>> = {
  run: Command.getUsage(run),
  plan: Command.getUsage(plan),
  explain: Command.getUsage(explain),
  export: Command.getUsage(exportVerb),
  import: Command.getUsage(importVerb),
  accept: Command.getUsage(accept),
  show: Command.getUsage(show),
  log: Command.getUsage(log),
  diff: Command.getUsage(diff),
  doctor: Command.getUsage(doctor),
  graph: Command.getUsage(graph),
  gc: Command.getUsage(gc),
  job: Command.getUsage(job),
  keys: Command.getUsage(keys),
  pin: Command.getUsage(pin),
  "plan-info": Command.getUsage(planInfo),
  "plan-convert": Command.getUsage(planConvert),
  verify: Command.getUsage(verify)
}

export const isVerb = (name: string): boolean => Object.hasOwn(usages, name)

/** The options that a verb takes, as on the command line; all verbs' where there is no such verb. */
export const flags = (verb: string): ReadonlyArray<string> => {
  const asked = Object.entries(usages).filter(([name]) => name === verb || !isVerb(verb))
  const text = asked.map(([, usage]) => HelpDoc.toAnsiText(Usage.getHelp(usage))).join(" ")
  return [...new Set([...text.matchAll(/--?[a-z][a-z-]*/g)].map(([flag]) => flag)), "--help", "--version"]
}
