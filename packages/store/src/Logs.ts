/**
 * Logs of runs: one JSON line per event, appended.
 */
import * as fs from "node:fs/promises"
import { Chunk, Duration, Effect, Option, Schedule, type Scope, Stream } from "effect"
import type { StoreError } from "./Errors.js"
import { attempt, errorCode, makeFolder } from "./Files.js"
import type { Layout } from "./Layout.js"
import * as Leases from "./Leases.js"

/** How long an event may wait to be written together with others. A killed process loses this much of its log. */
const FLUSH = Duration.millis(50)

export interface Writer {
  readonly append: (run: string, event: unknown) => Effect.Effect<void, StoreError>
  /** Waits until all that was appended is written. */
  readonly flush: Effect.Effect<void, StoreError>
  /** The same where nobody appends any more who could be told that it failed. */
  readonly end: Effect.Effect<void>
}

const write = (layout: Layout, run: string, text: string): Effect.Effect<void, StoreError> =>
  // One write of whole lines in append mode: lines of several processes do not mix.
  attempt(layout.run(run), async () => {
    try {
      await fs.appendFile(layout.run(run), text)
    } catch (cause) {
      if (errorCode(cause) !== "ENOENT") throw cause
      await makeFolder(layout.runs)
      await fs.appendFile(layout.run(run), text)
    }
  })

/**
 * Writes events in the background, and what is left when the scope closes. A failed write fails the next append; where
 * nothing may be written at all, events are dropped, which `warn` hears once: a run that finds everything needs no more.
 */
export const writer = (
  layout: Layout,
  warn: (detail: string) => Effect.Effect<void>
): Effect.Effect<Writer, never, Scope.Scope> =>
  Effect.gen(function* () {
    const waiting = new Map<string, Array<string>>()
    let failure: StoreError | undefined
    let dropping = false
    const drop = (error: StoreError) =>
      Effect.suspend(() => {
        if (dropping) return Effect.void
        dropping = true
        return warn(`${error.path}: ${error.detail.split(";")[0]}; what runs do here is not logged`)
      })
    const one = yield* Effect.makeSemaphore(1)
    const flush = Effect.suspend(() => {
      const batches = [...waiting]
      waiting.clear()
      return Effect.forEach(
        batches,
        ([run, lines]) =>
          Effect.catchIf(
            write(layout, run, lines.join("")),
            ({ reason }) => reason === "ReadOnly" || reason === "Permission",
            drop
          ),
        { discard: true }
      )
    }).pipe(
      Effect.tapError((error) => Effect.sync(() => (failure = error))),
      one.withPermits(1),
      Effect.uninterruptible
    )
    const end = Effect.catchAll(flush, (error) =>
      Effect.logWarning(`the log of a run lacks its end: ${error.message}`)
    )
    yield* Effect.addFinalizer(() => end)
    yield* Effect.ignore(flush).pipe(Effect.repeat(Schedule.spaced(FLUSH)), Effect.forkScoped)
    return {
      flush,
      end,
      append: (run, event) =>
        Effect.suspend(() => {
          if (failure !== undefined) return failure
          if (dropping) return Effect.void
          const line = `${JSON.stringify(event)}\n`
          const lines = waiting.get(run)
          if (lines === undefined) waiting.set(run, [line])
          else lines.push(line)
          return Effect.void
        })
    }
  })

export const runs = (layout: Layout): Effect.Effect<ReadonlyArray<string>, StoreError> =>
  attempt(layout.runs, async () => {
    const names = await fs.readdir(layout.runs).catch((cause: unknown) => {
      if (errorCode(cause) === "ENOENT") return []
      throw cause
    })
    return names
      .filter((name) => name.endsWith(".jsonl"))
      .map((name) => name.slice(0, -".jsonl".length))
      .sort()
      .reverse()
  })

const parse = (line: string): Chunk.Chunk<unknown> => {
  try {
    return Chunk.of(JSON.parse(line))
  } catch {
    // Torn by a crash.
    return Chunk.empty()
  }
}

/** The values of texts of whole lines. */
const lines = <E>(texts: Stream.Stream<string, E>): Stream.Stream<unknown, E> =>
  texts.pipe(
    Stream.flatMap((text) => Stream.fromIterable(text.split("\n").filter((line) => line !== ""))),
    Stream.mapChunks(Chunk.flatMap(parse))
  )

export const events = (layout: Layout, run: string): Stream.Stream<unknown, StoreError> =>
  lines(Stream.fromEffect(attempt(layout.run(run), () => fs.readFile(layout.run(run), "utf8"))))

/** How long a follower waits before it looks again. */
const LOOK = Duration.millis(200)

/** The events of a run, and then those that are still to come, to the end of who tells them. */
export const follow = (layout: Layout, run: string): Stream.Stream<unknown, StoreError> =>
  Stream.suspend(() => {
    let offset = 0
    const more = attempt(layout.run(run), async () => {
      const file = await fs.open(layout.run(run), "r")
      try {
        const { size } = await file.stat()
        const bytes = Buffer.alloc(Math.max(0, size - offset))
        await file.read(bytes, 0, bytes.length, offset)
        // The last line may not be whole yet.
        const whole = bytes.subarray(0, bytes.lastIndexOf("\n") + 1)
        offset += whole.length
        return whole.toString("utf8")
      } finally {
        await file.close()
      }
    })
    const isUnderWay = Leases.watch(layout.underWay, run)
    // Who is gone has written all that it ever will.
    const look = (pause: Duration.Duration) =>
      Effect.sleep(pause).pipe(
        Effect.zipRight(Effect.all([isUnderWay, more])),
        Effect.map(([goesOn, text]) => [text, goesOn ? Option.some(LOOK) : Option.none()] as const)
      )
    return lines(Stream.paginateEffect(Duration.zero, look))
  })
