/** What of parquetjs-lite 0.8.7 is used; it has no types of its own. Its exports are a CommonJS object. */
declare module "parquetjs-lite" {
  export interface FieldDefinition {
    readonly type: "UTF8" | "BOOLEAN" | "INT32" | "DOUBLE"
    readonly optional: boolean
    readonly compression: "UNCOMPRESSED" | "SNAPPY" | "GZIP"
    readonly statistics: false
  }

  class ParquetSchema {
    constructor(fields: Readonly<Record<string, FieldDefinition>>)
    readonly fields: object
  }

  interface Output {
    write(bytes: Uint8Array, done: (error?: unknown) => void): void
    end(done: (error?: unknown) => void): void
  }

  class ParquetWriter {
    static openStream(
      schema: ParquetSchema,
      output: Output,
      options: {
        readonly rowGroupSize: number
        readonly useDataPageV2: boolean
        readonly pageIndex: boolean
      }
    ): Promise<ParquetWriter>
    appendRow(row: Readonly<Record<string, unknown>>): Promise<void>
    setRowGroupSize(rows: number): void
    setMetadata(key: string, value: string): void
    close(): Promise<void>
  }

  interface ParquetCursor {
    /** All rows of the next row group, or null. */
    nextRowGroup(): Promise<ReadonlyArray<Readonly<Record<string, unknown>>> | null>
  }

  class ParquetReader {
    static openBuffer(bytes: Buffer, options: { readonly rawStatistics: boolean }): Promise<ParquetReader>
    getCursor(columns: ReadonlyArray<string>): ParquetCursor
    close(): Promise<void>
  }

  const lite: {
    readonly ParquetReader: typeof ParquetReader
    readonly ParquetSchema: typeof ParquetSchema
    readonly ParquetWriter: typeof ParquetWriter
  }
  export default lite
}
