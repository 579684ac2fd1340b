/**
 * Logs of runs: one JSON line per event, appended.
 */
import * as fs from "node:fs/promises"
import { Chunk, Effect, Stream } from "effect"
import type { StoreError } from "./Errors.js"
import { attempt, errorCode } from "./Files.js"
import type { Layout } from "./Layout.js"

export const append = (layout: Layout, run: string, event: unknown): Effect.Effect<void, StoreError> =>
  // One write of a whole line in append mode: lines of several processes do not mix.
  attempt(layout.run(run), async () => {
    const line = `${JSON.stringify(event)}\n`
    try {
      await fs.appendFile(layout.run(run), line)
    } catch (cause) {
      if (errorCode(cause) !== "ENOENT") throw cause
      await fs.mkdir(layout.runs, { recursive: true })
      await fs.appendFile(layout.run(run), line)
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

export const events = (layout: Layout, run: string): Stream.Stream<unknown, StoreError> =>
  Stream.fromEffect(attempt(layout.run(run), () => fs.readFile(layout.run(run), "utf8"))).pipe(
    Stream.flatMap((text) => Stream.fromIterable(text.split("\n").filter((line) => line !== ""))),
    Stream.mapChunks(Chunk.flatMap(parse))
  )
