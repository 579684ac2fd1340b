/**
 * Visits the items of an acyclic graph, each after those it needs, a bounded number side by side, those of the highest
 * priority first.
 */
import { Effect, FiberSet, Queue } from "effect"

/**
 * The first failure interrupts the other visits. Every needed item must be among the items.
 *
 * @param priority items of equal priority go in their order
 */
export const visitAll = <A, E>(
  items: ReadonlyArray<A>,
  needs: (item: A) => Iterable<A>,
  limit: number,
  visit: (item: A) => Effect.Effect<void, E>,
  priority: (item: A) => number = () => 0
): Effect.Effect<void, E> =>
  Effect.gen(function* () {
    if (items.length === 0) return
    const position = new Map(items.map((item, i) => [item, i]))
    const waitsFor = items.map((item) => new Set(needs(item)).size)
    const neededBy: Array<Array<number>> = items.map(() => [])
    items.forEach((item, i) => {
      for (const needed of new Set(needs(item))) neededBy[position.get(needed) ?? i]?.push(i)
    })
    const priorities = items.map(priority)
    const before = (a: number, b: number) => (priorities[b] ?? 0) - (priorities[a] ?? 0) || a - b
    /** The next one is last. */
    const ready = items.flatMap((_, i) => (waitsFor[i] === 0 ? [i] : [])).sort((a, b) => before(b, a))
    const makeReady = (i: number) => {
      let [low, high] = [0, ready.length]
      while (low < high) {
        const middle = (low + high) >> 1
        if (before(ready[middle] ?? 0, i) > 0) low = middle + 1
        else high = middle
      }
      ready.splice(low, 0, i)
    }
    const visited = yield* Queue.unbounded<number>()
    const fibers = yield* FiberSet.make<boolean, E>()
    // One fiber starts all others: fibers that start each other inherit ever longer histories.
    const coordinate = Effect.gen(function* () {
      let running = 0
      for (let left = items.length; left > 0; left--) {
        for (; running < limit && ready.length > 0; running++) {
          const i = ready.pop() ?? 0
          yield* FiberSet.run(fibers, Effect.zipRight(visit(items[i] as A), Queue.offer(visited, i)))
        }
        const done = yield* Queue.take(visited)
        running--
        for (const consumer of neededBy[done] ?? []) {
          const open = (waitsFor[consumer] ?? 0) - 1
          waitsFor[consumer] = open
          if (open === 0) makeReady(consumer)
        }
      }
    })
    yield* Effect.raceFirst(coordinate, FiberSet.join(fibers))
  }).pipe(Effect.scoped)
