/**
 * What a Pareto picture shows, as points.
 */
import { type Candidate, type Measurements, type Plan, sameRule } from "@tessera/attention"
import type { Row } from "@tessera/core"

export type Role = "dense" | "baseline" | "candidate" | "chosen"

export type Measurement = Row<typeof Measurements>

export interface ExpectedPoint {
  readonly plan: string
  readonly role: Role
  readonly x: number
  readonly y: number
}

/** Candidates by what the optimizer expects them to lose. */
export interface ExpectedPanel {
  /** Expected loss at this length; at the only length, the density there. */
  readonly x: { readonly length: number; readonly of: "loss" | "density" }
  /** Expected loss at this length. */
  readonly y: number
  readonly points: ReadonlyArray<ExpectedPoint>
}

export interface MeasuredPoint {
  readonly plan: string
  readonly role: Role
  /** KV cache kept, a share of the dense one. */
  readonly density: number
  /** Nats per answer token. */
  readonly loss: number
  /** The ends of its 95% interval. */
  readonly low: number
  readonly high: number
  /** Whether no plan keeps less and loses less. */
  readonly front: boolean
}

/** One task at one length. */
export interface MeasuredPanel {
  readonly task: string
  readonly length: number
  readonly points: ReadonlyArray<MeasuredPoint>
}

const sameRules = (a: Plan, b: Plan): boolean =>
  a.grouping === b.grouping &&
  a.rules.length === b.rules.length &&
  a.rules.every((row, layer) => {
    const other = b.rules[layer] ?? []
    return (
      row.length === other.length &&
      row.every((rule, head) => {
        const match = other[head]
        return match !== undefined && sameRule(rule, match)
      })
    )
  })

/** What a candidate is: a baseline expects no loss, for it looks at no influence. */
const roleOf = (candidate: Candidate, chosen: Plan): Role =>
  candidate.plan.name === chosen.name || sameRules(candidate.plan, chosen)
    ? "chosen"
    : candidate.expected.length === 0
      ? "baseline"
      : "candidate"

/** A panel for each two neighbouring lengths; of one length, its losses by density. */
export const expectedPanels = (
  candidates: ReadonlyArray<Candidate>,
  chosen: Plan
): ReadonlyArray<ExpectedPanel> => {
  const lengths = [
    ...new Set(candidates.flatMap(({ expected }) => expected.map(({ length }) => length)))
  ].sort((a, b) => a - b)
  const panel = (xLength: number, of: "loss" | "density", y: number): ExpectedPanel => ({
    x: { length: xLength, of },
    y,
    points: candidates.flatMap((candidate) => {
      const at = (length: number) => candidate.expected.find((each) => each.length === length)
      const [left, right] = [at(xLength)?.[of], at(y)?.loss]
      return left === undefined || right === undefined
        ? []
        : [{ plan: candidate.plan.name, role: roleOf(candidate, chosen), x: left, y: right }]
    })
  })
  const [only] = lengths
  const all =
    lengths.length === 1 && only !== undefined
      ? [panel(only, "density", only)]
      : lengths.slice(1).map((length, i) => panel(lengths[i] ?? length, "loss", length))
  return all.filter(({ points }) => points.length > 0)
}

/** A panel for each task and length, of what was measured over all depths. */
export const measuredPanels = (
  candidates: ReadonlyArray<Candidate>,
  measurements: ReadonlyArray<Measurement>,
  chosen: Plan
): ReadonlyArray<MeasuredPanel> => {
  const roles = new Map(candidates.map((candidate) => [candidate.plan.name, roleOf(candidate, chosen)]))
  const role = (plan: string): Role =>
    plan === "dense" ? "dense" : plan === chosen.name ? "chosen" : (roles.get(plan) ?? "baseline")
  const rows = measurements.filter(({ depth, loss }) => depth === "all" && Number.isFinite(loss))
  const tasks = [...new Set(rows.map(({ task }) => task))].sort()
  const lengths = [...new Set(rows.map(({ length }) => length))].sort((a, b) => a - b)
  return tasks.flatMap((task) =>
    lengths.flatMap((length) => {
      const here = rows.filter((row) => row.task === task && row.length === length)
      const points = here.map(({ density, loss, loss_margin, plan }) => ({
        plan,
        role: role(plan),
        density,
        loss,
        low: loss - (Number.isFinite(loss_margin) ? loss_margin : 0),
        high: loss + (Number.isFinite(loss_margin) ? loss_margin : 0),
        front: !here.some(
          (other) =>
            other.density <= density && other.loss <= loss && (other.density < density || other.loss < loss)
        )
      }))
      return points.length === 0 ? [] : [{ task, length, points }]
    })
  )
}
