/**
 * How the pages of a file are compressed.
 */
import { gzipSync } from "node:zlib"
import { Zstd } from "@hpcc-js/wasm-zstd"
import type { CompressionCodec } from "hyparquet"
import type { Compressors } from "hyparquet-writer/src/types.js"
import { Schema } from "effect"

export const Compression = Schema.Literal("snappy", "zstd", "gzip", "none")
export type Compression = typeof Compression.Type

const codecs = { snappy: "SNAPPY", zstd: "ZSTD", gzip: "GZIP", none: "UNCOMPRESSED" } as const

export const codecOf = <C extends Compression>(compression: C): (typeof codecs)[C] & CompressionCodec =>
  codecs[compression]

/** What hyparquet-writer does not bring itself. */
export const compressorsFor = async (compression: Compression): Promise<Compressors> => {
  if (compression === "gzip") return { GZIP: (bytes) => gzipSync(bytes) }
  if (compression !== "zstd") return {}
  const zstd = await Zstd.load()
  return { ZSTD: (bytes) => zstd.compress(bytes) }
}
