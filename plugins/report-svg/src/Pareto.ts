/**
 * The Pareto picture: what candidates are expected to lose at one length against another, and what plans were measured to
 * lose for the KV cache they keep, with baselines and the chosen plan.
 */
import type { Candidate, Plan } from "@tessera/attention"
import { Effect } from "effect"
import type { TopLevelSpec } from "vega-lite"
import { ReportError } from "./Errors.js"
import {
  type ExpectedPanel,
  expectedPanels,
  type MeasuredPanel,
  measuredPanels,
  type Measurement,
  type Role
} from "./Points.js"
import { render } from "./Render.js"
import { grouped } from "./SpanMap.js"
import { colours } from "./Theme.js"

const looks: Readonly<
  Record<Role, { readonly colour: string; readonly shape: string; readonly text: string }>
> = {
  dense: { colour: colours.ink, shape: "square", text: "dense" },
  baseline: { colour: colours.orange, shape: "triangle-up", text: "baseline" },
  candidate: { colour: colours.blue, shape: "circle", text: "candidate" },
  chosen: { colour: colours.vermilion, shape: "diamond", text: "chosen" }
}
const roles = ["dense", "baseline", "candidate", "chosen"] as const

/** Colour and shape of a role; the same in each panel, and one legend for all. */
const lookOf = (shown: ReadonlyArray<Role>) => ({
  color: {
    field: "role",
    type: "nominal" as const,
    scale: { domain: [...shown], range: shown.map((role) => looks[role].colour) },
    legend: { title: null, orient: "right" as const }
  },
  shape: {
    field: "role",
    type: "nominal" as const,
    scale: { domain: [...shown], range: shown.map((role) => looks[role].shape) }
  }
})

const size = { width: 190, height: 190 }
const quantitative = (field: string, title: string | null, format: string) => ({
  field,
  type: "quantitative" as const,
  title,
  scale: { zero: false, padding: 8 },
  axis: { format, tickCount: 5 }
})

const points = { type: "point", filled: true, size: 80, opacity: 0.9 } as const

/** The chosen plan is drawn last, over what it was chosen from. */
const lastChosen = <P extends { readonly role: Role }>(all: ReadonlyArray<P>): Array<P> =>
  [...all].sort((a, b) => roles.indexOf(a.role) - roles.indexOf(b.role))

const expectedView = ({ points: all, x, y }: ExpectedPanel, shown: ReadonlyArray<Role>) => ({
  ...size,
  data: { values: lastChosen(all) },
  title: {
    frame: "group" as const,
    text: `N = ${x.of === "loss" ? `${grouped(x.length)} and ` : ""}${grouped(y)}`
  },
  mark: points,
  encoding: {
    x:
      x.of === "loss"
        ? quantitative("x", `expected loss at ${grouped(x.length)}`, "~g")
        : quantitative("x", "KV cache kept, share of dense", ".0%"),
    y: quantitative("y", `expected loss at ${grouped(y)}`, "~g"),
    description: { field: "plan", type: "nominal" as const },
    ...lookOf(shown)
  }
})

const measuredView = ({ length, points: all }: MeasuredPanel, shown: ReadonlyArray<Role>) => {
  const x = quantitative("density", "KV cache kept, share of dense", ".0%")
  const y = quantitative("loss", "nats per answer token", "~g")
  return {
    ...size,
    data: { values: lastChosen(all) },
    title: { frame: "group" as const, text: `N = ${grouped(length)}` },
    layer: [
      {
        transform: [{ filter: "datum.front" }],
        mark: {
          type: "line" as const,
          interpolate: "step-after" as const,
          color: colours.muted,
          strokeDash: [3, 3],
          strokeWidth: 1
        },
        encoding: { x, y, order: { field: "density", type: "quantitative" as const } }
      },
      {
        mark: { type: "rule" as const, strokeWidth: 1, opacity: 0.6 },
        encoding: {
          x,
          y: { ...y, field: "low" },
          y2: { field: "high" },
          color: lookOf(shown).color
        }
      },
      {
        mark: points,
        encoding: {
          x,
          y,
          description: { field: "plan", type: "nominal" as const },
          ...lookOf(shown)
        }
      }
    ]
  }
}

const specOf = (
  chosen: Plan,
  expected: ReadonlyArray<ExpectedPanel>,
  measured: ReadonlyArray<MeasuredPanel>
): TopLevelSpec => {
  const present = new Set(
    [...expected, ...measured].flatMap(({ points }) => points.map(({ role }): Role => role))
  )
  const shown = roles.filter((role) => present.has(role))
  const section = (title: object, panels: ReadonlyArray<object>) => ({
    title: { ...title, offset: 12 },
    // Panels are set by their plots, whatever is written beside them.
    bounds: "flush" as const,
    spacing: { column: 70, row: 80 },
    columns: 4,
    concat: panels
  })
  const sections = [
    ...(expected.length === 0
      ? []
      : [
          section(
            { text: "Expected by the optimizer", subtitle: "losses in the units of the influence" },
            expected.map((panel) => expectedView(panel, shown))
          )
        ]),
    ...[...new Set(measured.map(({ task }) => task))].map((task) =>
      section(
        {
          text: `Measured: ${task}`,
          subtitle: "loss of the answers; bars: 95% interval; dashed: no plan keeps less and loses less"
        },
        measured.filter((panel) => panel.task === task).map((panel) => measuredView(panel, shown))
      )
    )
  ]
  return {
    title: {
      text: `Plans for ${chosen.model.identity?.name ?? chosen.model.architecture}`,
      subtitle: `chosen: ${chosen.name}`,
      fontSize: 15,
      subtitleFontSize: 11,
      offset: 16
    },
    spacing: 40,
    vconcat: sections
  } as TopLevelSpec
}

/** The picture as SVG text. Plans that were measured and are no candidates count as baselines. */
export const pareto = (
  candidates: ReadonlyArray<Candidate>,
  measurements: ReadonlyArray<Measurement>,
  chosen: Plan
): Effect.Effect<string, ReportError> => {
  const expected = expectedPanels(candidates, chosen)
  const measured = measuredPanels(candidates, measurements, chosen)
  return expected.length + measured.length === 0
    ? new ReportError({
        reason: "NothingToDraw",
        detail:
          "no candidate expects a loss and no loss was measured; give candidates of an optimizer, or measurements of them"
      })
    : render(specOf(chosen, expected, measured))
}
