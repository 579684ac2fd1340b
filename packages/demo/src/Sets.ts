/**
 * What the generators' parameters have in common.
 */
import { Schema } from "effect"

/**
 * Which data an item is for. The name is part of every random stream's labels: calibration, validation and test never
 * share an item, whatever their seeds.
 */
export const Split = Schema.Literal("calibration", "validation", "test")
export type Split = typeof Split.Type

/** A length class in tokens. The shortest still holds an event's facts and summary. */
export const Length = Schema.Int.pipe(Schema.between(384, 1_000_000))

export const Seed = Schema.optionalWith(Schema.NonNegativeInt, { default: () => 0 })

/** Such as `news-1024-0003`. */
export const itemName = (task: string, length: number, index: number): string =>
  `${task}-${length}-${String(index).padStart(4, "0")}`
