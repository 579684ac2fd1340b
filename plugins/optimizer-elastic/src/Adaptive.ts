/**
 * The whole front, the largest gap first: in the zone with the largest box the least sum of the losses is looked for, which
 * is a point of the front if there is any, and splits the zones (search zones as of Klamroth, Lacour and Vanderpooten
 * 2015; the largest first as Tamby and Vanderpooten, INFORMS Journal on Computing 33, 2021).
 */
import { Effect } from "effect"
import type { OptimizerError } from "./Errors.js"
import { type Found, found, type Front, orLate, type Search } from "./Search.js"
import { depth, type Frame, largest, lower, size, without, type Zone } from "./Zones.js"

/** Losses closer than this share of their range are one. */
const GRAIN = 1e-8

const say = (value: number): string => String(Number(value.toPrecision(4)))

/**
 * @param known points of the front: the best at each length, and others
 * @param low by objective: what no plan loses less than
 * @param problems the most problems to solve
 */
export const adaptiveFront = (
  search: Search,
  known: ReadonlyArray<Found>,
  low: ReadonlyArray<number>,
  problems: number
): Effect.Effect<Front, OptimizerError> =>
  Effect.gen(function* () {
    const { instance, limits } = search
    const high = instance.lengths.map((_, o) => Math.max(...known.map((one) => one.losses[o] ?? 0)))
    const frame: Frame = {
      low,
      high,
      weights: high.map((top, o) => {
        const width = top - (low[o] ?? 0)
        return 1 / (width > 0 ? width : (instance.range[o] ?? 1))
      }),
      grain: instance.range.map((range) => GRAIN * range)
    }
    // No plan loses more than this, so it is no cap.
    const top = instance.loss.map((values, o) => {
      const width = instance.options.length
      const most = instance.kept.reduce(
        (sum, kept, head) => sum + Math.max(...kept.map((r) => values[head * width + r] ?? 0)),
        0
      )
      return most + Math.max(Math.abs(most), instance.range[o] ?? 1)
    })
    const all: Array<Found> = []
    const bound = low.reduce((sum, value, o) => sum + value * (frame.weights[o] ?? 0), 0)
    let zones: ReadonlyArray<Zone> = [{ upper: top, bound }]
    for (const one of known) zones = without(frame, zones, one.losses)

    const late: Array<Zone> = []
    let solved = 0
    for (; solved < problems; solved++) {
      const zone = largest(frame, zones)
      if (zone === undefined) break
      const caps = zone.upper.map((upper, o) =>
        upper < (top[o] ?? 0) ? upper - (frame.grain[o] ?? 0) : undefined
      )
      const solution = yield* orLate(
        search.solve({ weights: frame.weights, caps }, `box of ${say(100 * size(frame, zone))}%`)
      )
      zones = zones.filter((other) => other !== zone)
      if (solution === "late") late.push(zone)
      if (solution === undefined || solution === "late") continue
      const text = zone.upper.flatMap((upper, o) =>
        upper < (top[o] ?? 0) ? [`below ${upper} at ${instance.lengths[o]}`] : []
      )
      const one = found(instance, solution, ["least sum", ...text].join(", "))
      all.push(one)
      // Not inside by a rounding: nothing is there but what is known.
      if (one.losses.some((loss, o) => loss >= (zone.upper[o] ?? 0))) continue
      // What cannot be better than the gap tells apart counts as known.
      const worth = limits.gap * Math.abs(solution.value)
      zones = without(
        frame,
        [...zones, { ...zone, bound: Math.max(zone.bound, solution.bound) }],
        one.losses
      ).filter((part) => depth(frame, part) > worth)
    }
    const left = largest(frame, [...late, ...zones])
    if (left === undefined) return { found: all, explored: `all of it, after ${solved} problems` }
    const corner = lower(frame, left)
    const edges = left.upper.map(
      (upper, o) => `${say(corner[o] ?? 0)} to ${say(Math.min(upper, top[o] ?? 0))} at ${instance.lengths[o]}`
    )
    return {
      found: all,
      explored: `not all of it after ${solved} problems: the largest box left is ${edges.join(", ")}`
    }
  })
