/**
 * A heat map of a plan's spans: layers × heads, a panel for each length.
 */
import { blocks, density, headDensity, keptBlocks, type Plan } from "@tessera/attention"
import { Effect } from "effect"
import type { TopLevelSpec } from "vega-lite"
import { ReportError } from "./Errors.js"
import { render } from "./Render.js"

/** Heads beside each other that keep the same share of N, drawn as one rectangle. */
interface Run {
  readonly layer: number
  readonly from: number
  readonly to: number
  readonly share: number
}

/** Runs of heads of each layer with equal spans, as shares of N. */
export const runs = (plan: Plan, length: number): ReadonlyArray<Run> =>
  plan.rules.flatMap((rules, layer) => {
    const found: Array<Run> = []
    for (const [head, rule] of rules.entries()) {
      const share = keptBlocks(rule, plan.geometry, length, "inside") / blocks(plan.geometry, length)
      const last = found.at(-1)
      if (last?.share === share) found[found.length - 1] = { ...last, to: head + 1 }
      else found.push({ layer, from: head, to: head + 1, share })
    }
    return found
  })

const between = (least: number, value: number, most: number) => Math.min(Math.max(value, least), most)

const percent = (share: number): string => `${(100 * share).toFixed(1)}%`

/** `12,288` */
export const grouped = (value: number): string => String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",")

/** Around the numbers of its layer and heads, where the ticks are. */
const rectangle = ({ from, layer, share, to }: Run) => ({
  share,
  left: from - 0.5,
  right: to - 0.5,
  above: layer - 0.5,
  below: layer + 0.5
})

const specOf = (plan: Plan, lengths: ReadonlyArray<number>): TopLevelSpec => {
  const { kvHeads, layers, queryHeads } = plan.model
  const heads = plan.grouping === "kv-head" ? kvHeads : queryHeads
  const shares = queryHeads === kvHeads ? "" : `, ${kvHeads} KV heads`
  const kept = (length: number) =>
    plan.grouping === "kv-head"
      ? `keeps ${percent(density(plan, length))} of the KV cache`
      : `heads keep ${percent(headDensity(plan, length))}`
  return {
    title: {
      text: `Spans of ${plan.name}`,
      subtitle: `${plan.model.identity?.name ?? plan.model.architecture}: ${layers} layers, ${queryHeads} query heads${shares}; rules per ${plan.grouping === "kv-head" ? "KV head" : "query head"}, sink of ${plan.geometry.sink} tokens inside the span`,
      fontSize: 15,
      subtitleFontSize: 11,
      offset: 16
    },
    columns: 4,
    spacing: 28,
    concat: lengths.map((length, i) => ({
      title: { text: `N = ${grouped(length)} tokens`, subtitle: kept(length) },
      width: heads * between(4, Math.floor(300 / heads), 18),
      height: layers * between(4, Math.floor(380 / layers), 14),
      data: { values: runs(plan, length).map(rectangle) },
      mark: { type: "rect", aria: false },
      encoding: {
        x: {
          field: "left",
          type: "quantitative",
          scale: { domain: [-0.5, heads - 0.5], nice: false },
          axis: { grid: false, tickMinStep: 1, format: "d", tickCount: 8 },
          title: plan.grouping === "kv-head" ? "KV head" : "query head"
        },
        x2: { field: "right" },
        y: {
          field: "above",
          type: "quantitative",
          scale: { domain: [-0.5, layers - 0.5], reverse: true, nice: false },
          axis: { grid: false, tickMinStep: 1, format: "d", tickCount: 8 },
          title: i % 4 === 0 ? "layer" : null
        },
        y2: { field: "below" },
        color: {
          field: "share",
          type: "quantitative",
          scale: { domain: [0, 1], scheme: "viridis" },
          legend: { title: "span, share of N", format: ".0%", gradientLength: 160, tickCount: 5 }
        }
      }
    }))
  }
}

/** The heat map as SVG text, one panel for each of the lengths, in tokens. */
export const spanMap = (plan: Plan, lengths: ReadonlyArray<number>): Effect.Effect<string, ReportError> =>
  lengths.length === 0
    ? new ReportError({ reason: "NothingToDraw", detail: "no length to draw spans at; name at least one" })
    : render(specOf(plan, lengths))
