/**
 * The artifact store: immutable blobs by digest, actions by key, run logs, leases.
 */
import type { Fields, Port, Reader, Table } from "@tessera/core"
import type * as Arrow from "apache-arrow"
import { Context, type Effect, type Option, type Scope, type Stream } from "effect"
import type { ArtifactError } from "@tessera/core"
import type { Action, Artifact } from "./Action.js"
import type { StoreError } from "./Errors.js"
import type { Maintenance } from "./Maintenance.js"

/** The right to compute one key; heartbeats until its scope closes. */
export interface Lease {
  readonly key: string
}

export class Store extends Context.Tag("@tessera/store/Store")<
  Store,
  {
    /** A path or address for people. */
    readonly location: string

    /**
     * The action of a key, if it is there and whole: every blob it names exists and has its digest. A damaged one is
     * treated as absent; `onDamaged` hears why. Of a store with a remote: is there, or is at the remote (see `fetch`).
     */
    readonly getAction: (
      key: string,
      onDamaged?: (why: string) => Effect.Effect<void>
    ) => Effect.Effect<Option.Option<Action>, StoreError>
    /** Publishes an action, atomically, after its blobs. */
    readonly putAction: (action: Action) => Effect.Effect<void, StoreError>
    /** All actions, newest first; damaged ones left out. */
    readonly actions: Stream.Stream<Action, StoreError>

    /** Commits a table in canonical bytes: equal rows give equal digests. Rows are checked against the port. */
    readonly putTable: <E, R>(
      table: Table<Fields>,
      content: Arrow.Table | Stream.Stream<unknown, E, R>
    ) => Effect.Effect<Artifact, StoreError | ArtifactError | E, R>
    /** Commits a document as canonical JSON of its encoded value. */
    readonly putDocument: (port: Port, value: unknown) => Effect.Effect<Artifact, StoreError | ArtifactError>
    /** Commits the files of a folder. */
    readonly putFolder: (type: string, folder: string) => Effect.Effect<Artifact, StoreError>
    /**
     * Refers to a folder outside the store without copying it: files are digested once (remembered by path, size,
     * inode and mtime) and read in place as long as they are unchanged.
     */
    readonly adoptFolder: (type: string, folder: string) => Effect.Effect<Artifact, StoreError>

    /** A reader for a stage's input port; checks that the artifact is what the port says. */
    readonly open: <P extends Port>(
      port: P,
      artifact: Artifact
    ) => Effect.Effect<Reader<P>, ArtifactError | StoreError, Scope.Scope>

    /** Splits a table by a column; shards in ascending order of the value, which names them. */
    readonly split: (
      artifact: Artifact,
      by: string
    ) => Effect.Effect<
      ReadonlyArray<{ readonly shard: string; readonly artifact: Artifact }>,
      StoreError | ArtifactError
    >
    /** Concatenates tables of one type. */
    readonly concat: (
      table: Table<Fields>,
      artifacts: ReadonlyArray<Artifact>
    ) => Effect.Effect<Artifact, StoreError | ArtifactError>

    /**
     * Waits until this process may compute the key. Two processes that want one key compute it once: take the lease,
     * then look at the action again. Released when the scope closes; taken over when its holder died.
     */
    readonly lease: (key: string) => Effect.Effect<Lease, StoreError, Scope.Scope>
    /** An empty folder on the store's disk, removed with the scope. */
    readonly scratch: Effect.Effect<string, StoreError, Scope.Scope>

    /**
     * Shows that this process is busy with a run, until the scope closes and all of the run's log is written. Whoever
     * looks finds out when the process dies.
     */
    readonly attend: (run: string) => Effect.Effect<void, StoreError, Scope.Scope>
    /** Appends one JSON line to the log of a run. */
    readonly appendEvent: (run: string, event: unknown) => Effect.Effect<void, StoreError>
    /** Ids of runs, newest first. */
    readonly runs: Effect.Effect<ReadonlyArray<string>, StoreError>
    /** The events of a run, in order; a torn last line is left out. */
    readonly events: (run: string) => Stream.Stream<unknown, StoreError>
    /**
     * The events of a run, and then those that are still to come, whoever appends them, until nobody attends the run any
     * more. A process of another machine that died is noticed after a minute.
     */
    readonly follow: (run: string) => Stream.Stream<unknown, StoreError>
    /**
     * What a person should know that is no failure: a lease taken over, a remote that cannot be reached. Heard from when
     * the effect is done until its scope closes.
     */
    readonly warnings: Effect.Effect<Stream.Stream<string>, never, Scope.Scope>
    /**
     * Brings an artifact's bytes to this machine where only a remote has them; whatever reads an artifact does so by
     * itself. `NotFound` where they are lost: from then on the actions that name them count as absent.
     */
    readonly fetch: (artifact: Artifact) => Effect.Effect<void, StoreError>
    /** A plain file path of a blob, to look at. */
    readonly blobPath: (digest: string) => Effect.Effect<string, StoreError>
    readonly maintenance: Maintenance
  }
>() {}
