/**
 * `tessera plan-info`: what a plan keeps and costs.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import {
  density,
  denseKvBytes,
  expandedKvBytes,
  headDensity,
  keptBlocks,
  kvBytes,
  type Plan,
  prefillShare,
  ruleText
} from "@tessera/attention"
import { Effect } from "effect"
import { CliError } from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { type PlanArgs, type ReadPlan, readPlan } from "../PlanFile.js"

export interface PlanInfoArgs extends PlanArgs {
  readonly bytes: number | undefined
  readonly svg: string | undefined
}

/** A number with the sink inside the span, as Tessera and the official runtime count, and on top of it, as the official optimizer does. */
interface Both {
  readonly inside: number
  readonly onTop: number
}

const both = (
  of: (plan: Plan, length: number, sink: "inside" | "on-top") => number,
  plan: Plan,
  length: number
): Both => ({
  inside: of(plan, length, "inside"),
  onTop: of(plan, length, "on-top")
})

/** What the plan costs at one length. */
const costs = ({ expected, plan }: ReadPlan, length: number, bytesPerElement: number) => {
  const loss = expected.find((each) => each.length === length)?.loss
  return {
    length,
    density: both(density, plan, length),
    headDensity: both(headDensity, plan, length),
    prefill: both(prefillShare, plan, length),
    kvBytes: kvBytes(plan, length, bytesPerElement),
    denseKvBytes: denseKvBytes(plan.model, length, bytesPerElement),
    expandedKvBytes: expandedKvBytes(plan, length, bytesPerElement),
    ...(loss === undefined ? {} : { expectedLoss: loss })
  }
}

/** Rules of a layer and how many heads have each, the most used first. */
const rulesOf = (rules: Plan["rules"][number]) => {
  const heads = new Map<string, number>()
  for (const rule of rules) heads.set(ruleText(rule), (heads.get(ruleText(rule)) ?? 0) + 1)
  return [...heads].map(([rule, heads]) => ({ rule, heads })).sort((a, b) => b.heads - a.heads)
}

const layersOf = ({ lengths, plan }: ReadPlan) =>
  plan.rules.map((rules, layer) => ({
    layer,
    rules: rulesOf(rules),
    spans: lengths.map((length) => {
      const tokens = rules.map((rule) =>
        Math.min(keptBlocks(rule, plan.geometry, length, "inside") * plan.geometry.block, length)
      )
      return {
        length,
        shortest: Math.min(...tokens),
        longest: Math.max(...tokens),
        kept: tokens.reduce((sum, each) => sum + each, 0) / (tokens.length * length)
      }
    })
  }))

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`
const tokens = (length: number): string => String(length).replace(/\B(?=(\d{3})+(?!\d))/g, ",")

const head = ({ plan }: ReadPlan): string => {
  const { architecture, headDim, identity, kvHeads, layers, queryHeads } = plan.model
  const { block, minWindow, sink } = plan.geometry
  const distinct = new Set(plan.rules.flat().map(ruleText)).size
  const most = Math.max(...plan.rules.map((rules) => rulesOf(rules).length))
  return [
    Output.style.bold(plan.name),
    [
      ...(identity?.name === undefined ? [] : [identity.name]),
      architecture,
      `${layers} layers, ${queryHeads} query heads, ${kvHeads} KV heads of ${headDim}`,
      ...(identity?.digest === undefined ? [] : [Format.digest(identity.digest)])
    ].join(", "),
    `rules per ${plan.grouping === "kv-head" ? "KV head" : "query head"}: ${distinct} different, at most ${most} in a layer`,
    `blocks of ${block} tokens, sink of ${sink} inside the span, windows of at least ${minWindow} ${minWindow === 1 ? "block" : "blocks"}`,
    `N counts ${plan.length === "prompt" ? "the prompt" : "the prompt and the tokens to be generated"}`,
    ...Object.entries(plan.provenance).map(([name, value]) => Output.style.dim(`${name}: ${value}`))
  ].join("\n")
}

type Costs = ReturnType<typeof costs>

const right = (title: string, cells: ReadonlyArray<string>): Format.ColumnText => ({
  title,
  align: "right",
  cells
})

const costTable = (rows: ReadonlyArray<Costs>, { plan }: ReadPlan): string => {
  const perQueryHead = plan.grouping === "query-head" && plan.model.queryHeads > plan.model.kvHeads
  const shares = (title: string, of: (row: Costs) => Both) => [
    right(
      title,
      rows.map((row) => percent(of(row).inside))
    ),
    right(
      "sink on top",
      rows.map((row) => percent(of(row).onTop))
    )
  ]
  return Format.columns([
    right(
      "N",
      rows.map(({ length }) => tokens(length))
    ),
    ...shares("density", (row) => row.density),
    ...(perQueryHead ? shares("per query head", (row) => row.headDensity) : []),
    ...shares("prefill", (row) => row.prefill),
    ...(rows.some(({ expectedLoss }) => expectedLoss !== undefined)
      ? [right("expected loss", Format.numbers(rows.map(({ expectedLoss }) => expectedLoss ?? null)))]
      : [])
  ])
}

const byteTable = (rows: ReadonlyArray<Costs>, { plan }: ReadPlan): string => {
  const ratio = (bytes: (row: Costs) => number) =>
    rows.map((row) => `${(bytes(row) / row.denseKvBytes).toFixed(2)}×`)
  const expands = plan.grouping === "query-head" && plan.model.queryHeads > plan.model.kvHeads
  return Format.columns([
    right(
      "N",
      rows.map(({ length }) => tokens(length))
    ),
    right(
      "dense KV cache",
      rows.map(({ denseKvBytes }) => Format.bytes(denseKvBytes))
    ),
    right(
      "plan",
      rows.map(({ kvBytes }) => Format.bytes(kvBytes))
    ),
    right(
      "",
      ratio(({ kvBytes }) => kvBytes)
    ),
    ...(expands
      ? [
          right(
            "a KV head per query head",
            rows.map(({ expandedKvBytes }) => Format.bytes(expandedKvBytes))
          ),
          right(
            "",
            ratio(({ expandedKvBytes }) => expandedKvBytes)
          )
        ]
      : [])
  ])
}

const layerTable = (layers: ReturnType<typeof layersOf>, { lengths }: ReadPlan): string =>
  Format.columns([
    right(
      "layer",
      layers.map(({ layer }) => String(layer))
    ),
    ...lengths.flatMap((length, i) => [
      right(
        `span at ${tokens(length)}`,
        layers.map(({ spans }) => {
          const { longest = 0, shortest = 0 } = spans[i] ?? {}
          return shortest === longest ? tokens(longest) : `${tokens(shortest)} to ${tokens(longest)}`
        })
      ),
      right(
        "kept",
        layers.map(({ spans }) => percent(spans[i]?.kept ?? 0))
      )
    ]),
    {
      title: "rules and their heads",
      cells: layers.map(({ rules }) =>
        Format.cut(rules.map(({ heads, rule }) => `${rule} ×${heads}`).join(", "), 72)
      )
    }
  ])

const draw = ({ lengths, plan }: ReadPlan, file: string) =>
  Effect.gen(function* () {
    const { spanMap } = yield* Effect.promise(() => import("@tessera/report-svg"))
    const svg = yield* Effect.orDie(spanMap(plan, lengths))
    const fs = yield* FileSystem.FileSystem
    yield* fs.writeFileString(file, svg).pipe(
      Effect.mapError(
        (cause) =>
          new CliError({
            reason: "Output",
            where: file,
            detail: `cannot be written: ${cause.message}`,
            hint: "Check that its folder exists and can be written."
          })
      )
    )
  })

export const planInfo = (args: PlanInfoArgs) =>
  Effect.gen(function* () {
    const found = yield* readPlan(args)
    const bytesPerElement = args.bytes ?? found.bytesPerElement ?? 2
    if (bytesPerElement < 1)
      return yield* new CliError({
        reason: "Parameter",
        where: `--bytes ${bytesPerElement}`,
        detail: "expected 1 or more, such as 2 for float16"
      })
    const rows = found.lengths.map((length) => costs(found, length, bytesPerElement))
    const layers = layersOf(found)
    if (args.svg !== undefined) yield* draw(found, args.svg)
    if (args.json) {
      const { rules: _, ...plan } = found.plan
      return yield* Output.json({
        plan,
        bytesPerElement,
        lengths: rows,
        layers,
        ...(args.svg === undefined ? {} : { svg: args.svg })
      })
    }
    yield* Output.out(
      [
        head(found),
        `${costTable(rows, found)}\n${Output.style.dim("density: KV cache kept; prefill: causal blocks computed; both shares of dense. sink on top: as the official optimizer counts.")}`,
        `${byteTable(rows, found)}\n${Output.style.dim(`one sequence, ${bytesPerElement} bytes an element; × of the dense cache`)}`,
        layerTable(layers, found)
      ].join("\n\n")
    )
  })
