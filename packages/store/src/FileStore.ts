/**
 * The store in a folder. Safe for many processes: blobs are linked into place once, actions are renamed into place after
 * their blobs, leases are files.
 */
import * as fs from "node:fs/promises"
import { join } from "node:path"
import {
  ArtifactError,
  canonicalJson,
  type DocumentReader,
  type Port,
  type Reader,
  type TreeReader
} from "@tessera/core"
import { Effect, Layer, ParseResult, PubSub, Schema, type Scope, Stream } from "effect"
import type { Artifact } from "./Action.js"
import * as ActionFiles from "./ActionFiles.js"
import * as Adopted from "./Adopted.js"
import * as Blobs from "./Blobs.js"
import { StoreError } from "./Errors.js"
import { attempt, makeFolder, uniqueName } from "./Files.js"
import * as Layout from "./Layout.js"
import * as Leases from "./Leases.js"
import * as Logs from "./Logs.js"
import * as Maintenance from "./Maintenance.js"
import * as Results from "./Results.js"
import { split } from "./SplitTable.js"
import { Store } from "./Store.js"
import { sweep } from "./Sweep.js"
import * as Tables from "./Tables.js"
import * as Trees from "./Trees.js"

export interface Options {
  /** The store's folder; made where it is not there. */
  readonly root: string
}

const documentReader = <A>(
  blobs: Blobs.Blobs,
  port: Port & { kind: "document" },
  artifact: Artifact
): DocumentReader<A> => ({
  digest: artifact.digest,
  value: Effect.gen(function* () {
    const path = yield* blobs.locate(artifact.digest)
    const text = yield* attempt(path, () => fs.readFile(path, "utf8"))
    return yield* Schema.decodeUnknown(Schema.parseJson(port.schema))(text) as Effect.Effect<
      A,
      ParseResult.ParseError
    >
  }).pipe(
    Effect.mapError((error) =>
      error instanceof StoreError
        ? new ArtifactError({
            reason: "Unavailable",
            artifact: artifact.digest,
            detail: error.message,
            cause: error
          })
        : new ArtifactError({
            reason: "SchemaMismatch",
            artifact: `${artifact.type} ${artifact.digest}`,
            detail: `the port ${port.id} cannot read it: ${ParseResult.TreeFormatter.formatErrorSync(error)}`,
            cause: error
          })
    )
  )
})

/** What a store in a folder is made of; another store may put its own blobs in place of these. */
export interface Parts {
  readonly layout: Layout.Layout
  readonly blobs: Blobs.Blobs
  readonly warnings: PubSub.PubSub<string>
}

export const parts = ({ root }: Options): Effect.Effect<Parts, StoreError, Scope.Scope> =>
  Effect.gen(function* () {
    const layout = Layout.layout(root)
    // A store that cannot be written can be read.
    yield* attempt(root, () => makeFolder(layout.temporary)).pipe(
      Effect.catchIf(
        ({ reason }) => ["ReadOnly", "Permission", "NoSpace"].includes(reason),
        (error) => Effect.mapError(Effect.asVoid(attempt(root, () => fs.readdir(layout.root))), () => error)
      )
    )
    yield* sweep(layout)
    const warnings = yield* Effect.acquireRelease(PubSub.unbounded<string>(), PubSub.shutdown)
    return { layout, blobs: Blobs.make(layout), warnings }
  })

export const assemble = ({
  layout,
  blobs,
  warnings
}: Parts): Effect.Effect<typeof Store.Service, never, Scope.Scope> =>
  Effect.gen(function* () {
    const log = yield* Logs.writer(layout, (detail) => PubSub.publish(warnings, detail))

    return Store.of({
      location: layout.root,
      getAction: Results.make(layout, blobs).get,
      putAction: (action) => ActionFiles.put(layout, action),
      actions: ActionFiles.all(layout),
      putTable: (table, content) =>
        "batches" in content ? Tables.putArrow(blobs, table, content) : Tables.putRows(blobs, table, content),
      putDocument: (port, value) =>
        Effect.gen(function* () {
          const wrong = (detail: string, cause: unknown) =>
            new ArtifactError({ reason: "SchemaMismatch", artifact: port.id, detail, cause })
          if (port.kind !== "document") return yield* wrong(`is a ${port.kind}, not a document`, undefined)
          const encoded = yield* Effect.mapError(Schema.encodeUnknown(port.schema)(value), (error) =>
            wrong(ParseResult.TreeFormatter.formatErrorSync(error), error)
          )
          const text = yield* Effect.mapError(canonicalJson(encoded, port.id), (error) =>
            wrong(error.detail, error)
          )
          return { kind: "document", type: port.id, ...(yield* blobs.putBytes(text)) }
        }),
      putFolder: (type, folder) => Trees.putFolder(blobs, type, folder),
      adoptFolder: (type, folder) => Adopted.adoptFolder(layout, blobs, type, folder),
      open: <P extends Port>(port: P, artifact: Artifact) =>
        Effect.gen(function* () {
          if (port.kind !== artifact.kind) {
            return yield* new ArtifactError({
              reason: "SchemaMismatch",
              artifact: artifact.digest,
              detail: `is a ${artifact.kind}, but the port ${port.id} is a ${port.kind}`
            })
          }
          const reader =
            port.kind === "table"
              ? yield* Tables.open(blobs, port, artifact)
              : port.kind === "document"
                ? documentReader(blobs, port, artifact)
                : ({
                    digest: artifact.digest,
                    path: yield* Trees.materialise(layout, blobs, artifact.digest)
                  } satisfies TreeReader)
          // The kind was matched above; the types of the three readers cannot follow it.
          return reader as Reader<P>
        }),
      split: (artifact, by) => split(blobs, artifact, by),
      concat: (table, artifacts) => Tables.concat(blobs, table, artifacts),
      lease: (key) => Leases.lease(layout, key, (detail) => PubSub.publish(warnings, detail)),
      scratch: Effect.acquireRelease(
        attempt(layout.temporary, async () => {
          const path = join(layout.temporary, uniqueName())
          await makeFolder(path)
          return path
        }),
        (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true }))
      ),
      attend: (run) =>
        Leases.lease(layout.underWay, run, () => Effect.void).pipe(
          Effect.zipRight(Effect.addFinalizer(() => log.end))
        ),
      appendEvent: log.append,
      runs: Effect.zipRight(log.flush, Logs.runs(layout)),
      events: (run) => Stream.unwrap(Effect.as(log.flush, Logs.events(layout, run))),
      follow: (run) => Logs.follow(layout, run),
      warnings: Stream.fromPubSub(warnings, { scoped: true }),
      blobPath: blobs.locate,
      fetch: (artifact) =>
        Effect.zipRight(
          blobs.locate(artifact.digest),
          artifact.kind === "tree"
            ? Effect.flatMap(Trees.manifest(blobs, artifact.digest), ({ files }) =>
                Effect.forEach(files, ({ digest }) => blobs.locate(digest), {
                  concurrency: 8,
                  discard: true
                })
              )
            : Effect.void
        ),
      maintenance: Maintenance.make(layout, blobs)
    })
  })

/** A store in a folder. */
export const layer = (options: Options): Layer.Layer<Store, StoreError> =>
  Layer.scoped(Store, Effect.flatMap(parts(options), assemble))
