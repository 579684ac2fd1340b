/**
 * `tessera diff`: two runs side by side.
 */
import { compare, type ComparedNode, type Comparison, type Logbook } from "@tessera/engine"
import { Effect } from "effect"
import * as ArtifactText from "../ArtifactText.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { resolveRun } from "../Reference.js"
import { sharedStoreLayer } from "../StoreLayer.js"
import * as TableDiff from "../TableDiff.js"

export interface DiffArgs {
  /** Ids of runs, or how they start; `last` for the newest. */
  readonly before: string
  readonly after: string
  readonly store: string
  readonly json: boolean
}

const ROWS = 60

const took = ([before, after]: ComparedNode["millis"]): string => {
  const text = (millis: number | undefined) => (millis === undefined ? "cached" : Format.duration(millis))
  return before === undefined && after === undefined ? "cached" : `${text(before)} → ${text(after)}`
}

const nodesText = (nodes: ReadonlyArray<ComparedNode>): string =>
  Format.columns([
    { title: "node", cells: nodes.map(({ node }) => node) },
    { title: "", cells: nodes.map(({ status }) => status) },
    { title: "results", cells: nodes.map(({ outputs }) => outputs.join(", ")) },
    { title: "took", cells: nodes.map(({ millis }) => took(millis)) },
    { title: "why", cells: nodes.map(({ differences }) => differences.join("; ")) }
  ])

const runText = ({ run, pipeline, startedAt, outcome }: Logbook.RunSummary): string =>
  `${run}  ${pipeline}  ${Format.moment(startedAt)}  ${outcome}`

/** Targets that are tables of measurements. */
const measured = ({ targets }: Comparison) =>
  Effect.map(
    Effect.forEach(Object.entries(targets), ([name, [before, after]]) =>
      Effect.gen(function* () {
        if (before.kind !== "table" || after.kind !== "table") return []
        const [a, b] = [yield* ArtifactText.read(before), yield* ArtifactText.read(after)]
        const diff =
          a.kind === "table" && b.kind === "table" ? TableDiff.tableDiff(a.table, b.table) : undefined
        return diff === undefined ? [] : [{ name, ...diff }]
      })
    ),
    (all) => all.flat()
  )

export const diff = (args: DiffArgs) =>
  Effect.gen(function* () {
    const [before, after] = [yield* resolveRun(args.before), yield* resolveRun(args.after)]
    const compared = yield* compare(before, after)
    const tables = yield* measured(compared)
    if (args.json) return yield* Output.json({ ...compared, tables })
    const { bold } = Output.style
    yield* Output.out(`${runText(compared.before)}\n${runText(compared.after)}\n`)
    for (const change of compared.params) yield* Output.out(change)
    const differing = compared.nodes.filter(({ status }) => status !== "same")
    const same = compared.nodes.length - differing.length
    if (differing.length > 0) yield* Output.out(nodesText(differing))
    yield* Output.out(`${same} of ${compared.nodes.length} nodes have equal keys`)
    for (const [name, [was, is]] of Object.entries(compared.targets)) {
      yield* Output.out(`\n${bold(name)}  ${Format.digest(was.digest)} → ${Format.digest(is.digest)}`)
      const table = tables.find((one) => one.name === name)
      if (table !== undefined) yield* Output.out(TableDiff.text(table, ROWS))
    }
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
