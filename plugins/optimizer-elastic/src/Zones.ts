/**
 * What of a front is still unknown: the zones below local upper bounds, in which points may lie that no known point beats
 * (Klamroth, Lacour and Vanderpooten, European Journal of Operational Research 245, 2015), for any number of objectives.
 */
import { compareNumbers } from "./Rules.js"

/** The points that are below `upper` at every objective. */
export interface Zone {
  readonly upper: ReadonlyArray<number>
  /** The weighted sum of no point in it is below this. */
  readonly bound: number
}

/** What sizes are measured by. */
export interface Frame {
  /** By objective: what no point is below. */
  readonly low: ReadonlyArray<number>
  /** Ends of the part that sizes count. */
  readonly high: ReadonlyArray<number>
  /** Those of the weighted sum. */
  readonly weights: ReadonlyArray<number>
  /** By objective: points that differ by less are one. */
  readonly grain: ReadonlyArray<number>
}

const weigh = ({ weights }: Frame, at: ReadonlyArray<number>): number =>
  at.reduce((sum, value, o) => sum + value * (weights[o] ?? 0), 0)

/** How far a point of the zone may be below its corner, as a weighted sum. */
export const depth = (frame: Frame, { bound, upper }: Zone): number => weigh(frame, upper) - bound

/** The corner that all of the zone is above: none of its points sums up to less than the bound. */
export const lower = (frame: Frame, zone: Zone): ReadonlyArray<number> =>
  zone.upper.map((upper, o) =>
    Math.max(frame.low[o] ?? 0, upper - depth(frame, zone) / (frame.weights[o] ?? 1))
  )

/** The share of the frame's box that the zone's box takes. */
export const size = (frame: Frame, zone: Zone): number =>
  lower(frame, zone).reduce((product, low, o) => {
    const top = frame.high[o] ?? 0
    const width = top - (frame.low[o] ?? 0)
    return width > 0
      ? product * Math.min(Math.max((Math.min(zone.upper[o] ?? 0, top) - low) / width, 0), 1)
      : product
  }, 1)

/** The zone with the largest box; of equal ones the one with the lower corner. */
export const largest = (frame: Frame, zones: ReadonlyArray<Zone>): Zone | undefined =>
  zones
    .map((zone) => ({ zone, order: [-size(frame, zone), ...zone.upper] }))
    .sort((a, b) => compareNumbers(a.order, b.order))[0]?.zone

const isInside = (a: Zone, b: Zone): boolean => a.upper.every((value, o) => value <= (b.upper[o] ?? 0))

/** Takes out of zones what a point beats. */
export const without = (
  frame: Frame,
  zones: ReadonlyArray<Zone>,
  point: ReadonlyArray<number>
): ReadonlyArray<Zone> => {
  const split = zones.flatMap((zone): ReadonlyArray<Zone> => {
    if (!point.every((value, o) => value < (zone.upper[o] ?? 0))) return [zone]
    return zone.upper
      .map((_, o) => ({ ...zone, upper: zone.upper.with(o, point[o] ?? 0) }))
      .filter(
        (part) =>
          depth(frame, part) > 0 &&
          part.upper.every((value, o) => value - (frame.grain[o] ?? 0) >= (frame.low[o] ?? 0))
      )
  })
  return split.filter(
    (zone, i) =>
      !split.some((other, j) => j !== i && isInside(zone, other) && (j < i || !isInside(other, zone)))
  )
}
