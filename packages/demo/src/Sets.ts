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

/** Length classes in tokens. The shortest that is allowed still holds an event's facts and summary. */
export const Lengths = Schema.optionalWith(
  Schema.NonEmptyArray(Schema.Int.pipe(Schema.between(384, 1_000_000))).pipe(
    Schema.filter((lengths) => new Set(lengths).size === lengths.length || "a length is given twice")
  ),
  { default: () => [512, 1024, 2048] }
)

export const Seed = Schema.optionalWith(Schema.NonNegativeInt, { default: () => 0 })

/** Such as `news-1024-0003`. */
export const itemName = (task: string, length: number, index: number): string =>
  `${task}-${length}-${String(index).padStart(4, "0")}`
