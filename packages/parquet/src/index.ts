/** @module Tables as Parquet files, and Parquet files as tables. */
export { Compression } from "./Compression.js"
export { type Choice, writerFor } from "./Choice.js"
export * from "./Decode.js"
export * from "./Encode.js"
export { ParquetError, type ParquetReason } from "./Errors.js"
export type { Input } from "./ParquetFile.js"
export { exportParquet } from "./ExportParquet.js"
export { importParquet, ParquetFiles } from "./ImportParquet.js"
