/**
 * What a leaf column of a Parquet file holds, whichever of the old and new annotations say so.
 */
import * as Arrow from "apache-arrow"
import type { SchemaElement } from "hyparquet"

export type Physical =
  | { readonly kind: "bool" | "float16" | "float" | "double" | "text" | "int96" }
  | { readonly kind: "int"; readonly bits: 32 | 64; readonly signed: boolean }
  | { readonly kind: "timestamp"; readonly unit: "MILLIS" | "MICROS" | "NANOS" }
  /** Something that no column of a table can hold. */
  | { readonly kind: "other"; readonly name: string }

const timestampUnits = { TIMESTAMP_MILLIS: "MILLIS", TIMESTAMP_MICROS: "MICROS" } as const
const textual = new Set(["UTF8", "ENUM", "JSON", "STRING"])
const integral = /^U?INT(EGER|_\d+)?$/

const annotation = ({
  converted_type,
  logical_type,
  precision,
  scale
}: SchemaElement): string | undefined => {
  const name = logical_type?.type ?? converted_type
  return name === "DECIMAL" ? `DECIMAL(${precision ?? "?"}, ${scale ?? 0})` : name
}

const integer = (bits: 32 | 64, element: SchemaElement): Physical => {
  const { converted_type, logical_type } = element
  if (logical_type?.type === "TIMESTAMP" && bits === 64) return { kind: "timestamp", unit: logical_type.unit }
  if (converted_type === "TIMESTAMP_MILLIS" || converted_type === "TIMESTAMP_MICROS") {
    return { kind: "timestamp", unit: timestampUnits[converted_type] }
  }
  const annotated = annotation(element)
  if (annotated !== undefined && !integral.test(annotated)) return { kind: "other", name: annotated }
  const unsigned =
    (logical_type?.type === "INTEGER" && !logical_type.isSigned) ||
    converted_type?.startsWith("UINT") === true
  return { kind: "int", bits, signed: !unsigned }
}

export const physicalOf = (element: SchemaElement): Physical => {
  const annotated = annotation(element)
  const other: Physical = { kind: "other", name: annotated ?? element.type ?? "a group" }
  switch (element.type) {
    case "INT32":
      return integer(32, element)
    case "INT64":
      return integer(64, element)
    case "INT96":
      return { kind: "int96" }
    case "BOOLEAN":
      return { kind: "bool" }
    case "FLOAT":
      return { kind: "float" }
    case "DOUBLE":
      return { kind: "double" }
    case "BYTE_ARRAY":
      return annotated !== undefined && textual.has(annotated) ? { kind: "text" } : other
    case "FIXED_LEN_BYTE_ARRAY":
      return annotated === "FLOAT16" && element.type_length === 2 ? { kind: "float16" } : other
    default:
      return other
  }
}

/** In words, for messages. */
export const nameOf = (physical: Physical): string => {
  switch (physical.kind) {
    case "int":
      return `${physical.signed ? "int" : "uint"}${physical.bits}`
    case "timestamp":
      return `timestamp in ${physical.unit.toLowerCase()}`
    case "float":
      return "float32"
    case "double":
      return "float64"
    case "int96":
      return "timestamp in nanos (INT96)"
    case "other":
      return physical.name
    default:
      return physical.kind
  }
}

/** The Arrow type that holds every such value, or undefined. */
export const arrowTypeOf = (physical: Physical): Arrow.DataType | undefined => {
  switch (physical.kind) {
    case "bool":
      return new Arrow.Bool()
    case "text":
      return new Arrow.Utf8()
    case "float16":
    case "float":
      return new Arrow.Float32()
    case "double":
      return new Arrow.Float64()
    case "int":
      return physical.bits === 32 && physical.signed ? new Arrow.Int32() : new Arrow.Int64()
    case "timestamp":
      return physical.unit === "MILLIS" ? new Arrow.TimestampMillisecond() : new Arrow.TimestampMicrosecond()
    case "int96":
      return new Arrow.TimestampMicrosecond()
    case "other":
      return undefined
  }
}
