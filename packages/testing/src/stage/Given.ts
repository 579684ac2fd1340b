/**
 * Inputs that a test writes down, and outputs read back, through a real engine and store.
 */
import { readdir, readFile } from "node:fs/promises"
import { join } from "node:path"
import { serialize } from "node:v8"
import {
  type ArtifactError,
  type Document,
  type Fields,
  pipeline,
  type Port,
  type Ref,
  type Row,
  rowSchema,
  sha256,
  source,
  stage,
  type Table,
  type Tree
} from "@tessera/core"
import { run, type RunError } from "@tessera/engine"
import { type Artifact, Store, type StoreError } from "@tessera/store"
import { Chunk, Effect, type ParseResult, Schema, Stream } from "effect"
import { Violation } from "../Check.js"

/** Rows of a table, the value of a document, or a tree: a folder (or file) by its path, or files by theirs. */
export type Content<P> =
  P extends Table<infer F>
    ? ReadonlyArray<Row<Table<F>>>
    : P extends Document<infer A>
      ? A
      : P extends Tree<string>
        ? string | URL | { readonly files: Readonly<Record<string, string | Uint8Array>> }
        : never

// What is given is known to the stage alone; its digest makes the key.
const Given = Schema.Struct({ digest: Schema.String })

/** A ref to this content. */
export const given: {
  <const F extends Fields>(type: Table<F>, content: ReadonlyArray<Row<Table<F>>>): Ref<Table<F>>
  <A>(type: Document<A>, content: A): Ref<Document<A>>
  <const Id extends string>(type: Tree<Id>, content: Content<Tree<Id>>): Ref<Tree<Id>>
  (type: Port, content: unknown): Ref<Port>
} = (type: Port, content: unknown): never => {
  if (type.kind === "tree" && (typeof content === "string" || content instanceof URL))
    return source(type, content) as never
  const produced = type.kind === "table" ? Stream.fromIterable(content as Iterable<unknown>) : content
  const given = stage("given", {
    version: "1",
    module: import.meta.url,
    inputs: {},
    outputs: { content: type },
    params: Given,
    run: () => Effect.succeed({ content: produced as never })
  })
  return given({}, { digest: sha256(serialize([type.id, content])) }).content as never
}

/** Files of a tree by path. */
const filesIn = (folder: string): Effect.Effect<Readonly<Record<string, string>>> =>
  Effect.promise(async () => {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true })
    const files: Record<string, string> = {}
    for (const entry of entries) {
      const file = join(entry.parentPath, entry.name)
      if (!entry.isDirectory()) files[file.slice(folder.length + 1)] = sha256(await readFile(file))
    }
    return files
  })

/**
 * What a port finds in an artifact: rows, each decoded by the port's schema; a value; or digests of files by path.
 */
export const contentOf = (
  type: Port,
  artifact: Artifact
): Effect.Effect<unknown, ArtifactError | StoreError | ParseResult.ParseError, Store> =>
  Effect.scoped(
    Effect.gen(function* () {
      const store = yield* Store
      switch (type.kind) {
        case "table": {
          const { rows } = yield* store.open(type, artifact)
          const all = Chunk.toReadonlyArray(yield* Stream.runCollect(rows))
          return yield* Schema.decodeUnknown(Schema.Array(rowSchema(type)))(all)
        }
        case "document":
          return yield* (yield* store.open(type, artifact)).value
        case "tree":
          return yield* filesIn((yield* store.open(type, artifact)).path)
      }
    })
  )

/** Runs what a ref needs, and reads the rows that arrive at its end. */
export const rowsOf = <F extends Fields, E, R>(
  type: Table<F>,
  ref: Ref<Table<F>, E, R>
): Effect.Effect<ReadonlyArray<Row<Table<F>>>, RunError<E> | ParseResult.ParseError | Violation, R | Store> =>
  Effect.gen(function* () {
    const { targets } = yield* run(pipeline("rows", { target: ref }))
    const artifact = targets["target"]
    if (artifact === undefined) return yield* new Violation({ detail: "the run gave no target" })
    return (yield* contentOf(type, artifact)) as ReadonlyArray<Row<Table<F>>>
  })
