/**
 * From what a user calls an artifact (a pin, a target, `node.port`, a digest's first digits) to the artifact.
 */
import { Logbook, RunEvent } from "@tessera/engine"
import { Artifact, Store, type StoreError } from "@tessera/store"
import { Effect, Option, Schema, Stream } from "effect"
import { CliError } from "./Failure.js"

export interface Found {
  readonly name: string
  readonly run: string | undefined
  /** One, unless a node that runs once per shard was named without a shard. */
  readonly artifacts: ReadonlyArray<{ readonly shard: string | undefined; readonly artifact: Artifact }>
}

interface Names {
  readonly run: string
  readonly byName: ReadonlyMap<string, Found>
}

const decodeEvent = Schema.decodeUnknownOption(RunEvent)

/** Everything a run named. */
const namesOf = (run: string): Effect.Effect<Names, StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const byName = new Map<string, Found>()
    const add = (name: string, shard: string | undefined, artifact: Artifact) => {
      const artifacts = [...(byName.get(name)?.artifacts ?? []), { shard, artifact }]
      byName.set(name, { name, run, artifacts })
      if (shard === undefined) return
      const one = `${name}[${shard}]`
      byName.set(one, { name: one, run, artifacts: [{ shard, artifact }] })
    }
    yield* Stream.runForEach(store.events(run), (line) =>
      Effect.sync(() => {
        const event = Option.getOrUndefined(decodeEvent(line))
        if (event?._tag === "TaskCached" || event?._tag === "TaskCommitted") {
          for (const [port, artifact] of Object.entries(event.outputs))
            add(`${event.node}.${port}`, event.shard, artifact)
        }
        if (event?._tag === "RunFinished") {
          for (const [name, artifact] of Object.entries(event.targets)) {
            byName.set(name, { name, run, artifacts: [{ shard: undefined, artifact }] })
          }
        }
      })
    )
    return { run, byName }
  })

const byDigest = (prefix: string): Effect.Effect<ReadonlyArray<Found>, StoreError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const found = new Map<string, Found>()
    yield* Stream.runForEach(store.actions, (action) =>
      Effect.sync(() => {
        for (const [port, artifact] of Object.entries(action.outputs)) {
          if (!artifact.digest.startsWith(prefix) || found.has(artifact.digest)) continue
          found.set(artifact.digest, {
            name: `${action.node}.${port}`,
            run: action.run,
            artifacts: [{ shard: undefined, artifact }]
          })
        }
      })
    )
    return [...found.values()]
  })

const notFound = (asked: string, detail: string, hint: string) =>
  new CliError({ reason: "Artifact", where: asked, detail, hint })

const shown = (names: Iterable<string>) => [...names].filter((name) => !name.endsWith("]")).join(", ")

/** A pin, or a name in the last run that has it. */
export const resolve = (asked: string): Effect.Effect<Found, StoreError | CliError, Store> =>
  Effect.gen(function* () {
    const store = yield* Store
    const pin = (yield* store.maintenance.pins).find(({ name }) => name === asked)
    if (pin !== undefined) {
      return { name: asked, run: undefined, artifacts: [{ shard: undefined, artifact: pin.artifact }] }
    }
    const runs = yield* store.runs
    let last: Names | undefined
    for (const run of runs) {
      const names = yield* namesOf(run)
      last ??= names
      const found = names.byName.get(asked)
      if (found !== undefined) return found
    }
    const digits = /^(?:sha256:)?([0-9a-f]{4,64})$/.exec(asked)?.[1]
    if (digits !== undefined) {
      const found = yield* byDigest(`sha256:${digits}`)
      if (found[0] !== undefined && found.length === 1) return found[0]
      if (found.length > 1) {
        const digests = found.flatMap(({ artifacts }) => artifacts.map(({ artifact }) => artifact.digest))
        return yield* notFound(
          asked,
          "more than one artifact starts like this",
          `They are: ${digests.join(", ")}.`
        )
      }
    }
    return yield* notFound(
      asked,
      `the store ${store.location} has no such artifact`,
      last === undefined
        ? "Nothing has run with this store yet; another one is chosen with --store."
        : `The last run has: ${shown(last.byName.keys())}.`
    )
  })

/** The run of an id or its start, or the newest one for `last`. */
export const resolveRun = (asked: string): Effect.Effect<string, StoreError | CliError, Store> =>
  Effect.flatMap(
    Logbook.findRun(asked === "last" ? "" : asked),
    Option.match({
      onNone: () =>
        new CliError({
          reason: "Run",
          where: asked,
          detail: "there is no such run",
          hint: "tessera log lists them."
        }),
      onSome: Effect.succeed
    })
  )
