/**
 * Visits the items of an acyclic graph, each after those it needs, a bounded number side by side, earlier ones first.
 */
import { Effect, FiberSet, Queue } from "effect"

/** The first failure interrupts the other visits. Every needed item must be among the items. */
export const visitAll = <A, E>(
  items: ReadonlyArray<A>,
  needs: (item: A) => Iterable<A>,
  limit: number,
  visit: (item: A) => Effect.Effect<void, E>
): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    if (items.length === 0) return
    const position = new Map(items.map((item, i) => [item, i]))
    const waitsFor = items.map((item) => new Set(needs(item)).size)
    const neededBy: Array<Array<number>> = items.map(() => [])
    items.forEach((item, i) => {
      for (const needed of new Set(needs(item))) neededBy[position.get(needed) ?? i]?.push(i)
    })
    const ready = items.flatMap((_, i) => (waitsFor[i] === 0 ? [i] : []))
    const visited = yield* Queue.unbounded<number>()
    const fibers = yield* FiberSet.make<boolean, E>()
    // One fiber starts all others: fibers that start each other inherit ever longer histories.
    const coordinate = Effect.gen(function* () {
      let running = 0
      for (let left = items.length; left > 0; left--) {
        const next = ready.sort((a, b) => a - b).splice(0, limit - running)
        running += next.length
        for (const i of next) {
          yield* FiberSet.run(fibers, Effect.zipRight(visit(items[i] as A), Queue.offer(visited, i)))
        }
        const done = yield* Queue.take(visited)
        running--
        for (const consumer of neededBy[done] ?? []) {
          const open = (waitsFor[consumer] ?? 0) - 1
          waitsFor[consumer] = open
          if (open === 0) ready.push(consumer)
        }
      }
    })
    yield* Effect.raceFirst(coordinate, FiberSet.join(fibers))
  }).pipe(Effect.scoped)
