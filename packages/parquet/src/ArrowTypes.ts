/**
 * Questions about Arrow types.
 */
import * as Arrow from "apache-arrow"

/** `Int32`, `List<Int32>`. */
// oxlint-disable-next-line typescript/no-base-to-string -- only the abstract base lacks a toString
export const typeName = (type: Arrow.DataType): string => String(type)

export const isList = (type: Arrow.DataType): type is Arrow.List | Arrow.FixedSizeList =>
  Arrow.DataType.isList(type) || Arrow.DataType.isFixedSizeList(type)

/** The unit of a timestamp that columns of core may have, or undefined. */
export const timestampUnit = (type: Arrow.DataType): "MILLIS" | "MICROS" | undefined => {
  if (!Arrow.DataType.isTimestamp(type) || (type.timezone ?? "") !== "") return undefined
  if (type.unit === Arrow.TimeUnit.MILLISECOND) return "MILLIS"
  return type.unit === Arrow.TimeUnit.MICROSECOND ? "MICROS" : undefined
}
