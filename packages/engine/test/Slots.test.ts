import { Deferred, Effect, Fiber, Scope, Exit, Either } from "effect"
import * as fc from "fast-check"
import { describe, expect, it } from "vitest"
import * as Slots from "../src/Slots.js"

const capacity: Slots.Capacity = { cpu: 4, memory: 100, slots: { gpu: ["a", "b"], licence: ["0"] } }
const want = (wanted: Partial<Slots.Granted.Wanted>): Slots.Granted.Wanted => ({
  cpu: 1,
  memory: 0,
  slots: {},
  ...wanted
})

/** Takes in the background; tells what it got, and gives it back when asked. */
const taker = (slots: Slots.Slots, wanted: Slots.Granted.Wanted, priority = 0) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const granted = yield* Deferred.make<Slots.Granted>()
    const fiber = yield* Effect.fork(
      Effect.flatMap(Scope.extend(slots.take(wanted, priority), scope), (got) =>
        Deferred.succeed(granted, got)
      )
    )
    yield* Effect.yieldNow()
    return {
      granted: Deferred.await(granted),
      has: Deferred.isDone(granted),
      giveBack: Scope.close(scope, Exit.void),
      giveUp: Effect.zipRight(Fiber.interrupt(fiber), Scope.close(scope, Exit.void))
    }
  })

const run = <A>(effect: Effect.Effect<A>) => Effect.runPromise(effect)

describe("slots", () => {
  it("are handed out by name, never twice at once", () =>
    run(
      Effect.gen(function* () {
        const slots = Slots.make(capacity)
        const first = yield* taker(slots, want({ slots: { gpu: 1 } }))
        const second = yield* taker(slots, want({ slots: { gpu: 1, licence: 1 } }))
        const third = yield* taker(slots, want({ slots: { gpu: 1 } }))
        expect((yield* first.granted).slots).toEqual({ gpu: ["a"] })
        expect((yield* second.granted).slots).toEqual({ gpu: ["b"], licence: ["0"] })
        expect(yield* third.has).toBe(false)
        yield* second.giveBack
        expect((yield* third.granted).slots).toEqual({ gpu: ["b"] })
      })
    ))

  it("go to the task of the highest priority, and among equals to the one that came first", () =>
    run(
      Effect.gen(function* () {
        const slots = Slots.make({ cpu: 1, memory: 0, slots: {} })
        const holder = yield* taker(slots, want({}))
        const order: Array<string> = []
        const waiters = yield* Effect.forEach(
          [
            ["low", 1],
            ["first", 5],
            ["second", 5]
          ] as const,
          ([name, priority]) =>
            Effect.fork(
              Effect.scoped(
                Effect.zipRight(
                  slots.take(want({}), priority),
                  Effect.sync(() => order.push(name))
                )
              )
            ).pipe(Effect.tap(() => Effect.yieldNow()))
        )
        yield* holder.giveBack
        yield* Effect.forEach(waiters, Fiber.join)
        expect(order).toEqual(["first", "second", "low"])
      })
    ))

  it("are kept free for a large task that waits, and given to small ones that do not need them", () =>
    run(
      Effect.gen(function* () {
        const slots = Slots.make(capacity)
        const small = yield* taker(slots, want({ cpu: 1, slots: { gpu: 1 } }))
        const large = yield* taker(slots, want({ cpu: 2, slots: { gpu: 2 } }))
        const behind = yield* taker(slots, want({ cpu: 1, slots: { gpu: 1 } }))
        const other = yield* taker(slots, want({ cpu: 1 }))
        expect([yield* large.has, yield* behind.has, yield* other.has]).toEqual([false, false, true])
        yield* small.giveBack
        yield* large.granted
        expect(yield* behind.has).toBe(false)
        yield* large.giveBack
        yield* behind.granted
      })
    ))

  it("return when a waiting task is interrupted, and those behind it move up", () =>
    run(
      Effect.gen(function* () {
        const slots = Slots.make({ cpu: 2, memory: 0, slots: {} })
        const holder = yield* taker(slots, want({ cpu: 1 }))
        const large = yield* taker(slots, want({ cpu: 2 }), 9)
        const behind = yield* taker(slots, want({ cpu: 1 }))
        expect(yield* behind.has).toBe(false)
        yield* large.giveUp
        yield* behind.granted
        yield* holder.giveBack
        const all = yield* taker(slots, want({ cpu: 1 }))
        expect(yield* all.has).toBe(true)
      })
    ))

  it("never exceed the capacity, whoever comes, goes and gives up, and nobody waits for ever", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            cpu: fc.integer({ min: 1, max: 4 }),
            memory: fc.integer({ min: 0, max: 100 }),
            gpu: fc.integer({ min: 0, max: 2 }),
            priority: fc.integer({ min: 0, max: 3 }),
            ticks: fc.integer({ min: 0, max: 4 }),
            quits: fc.boolean()
          }),
          { maxLength: 25 }
        ),
        (tasks) =>
          run(
            Effect.gen(function* () {
              const slots = Slots.make(capacity)
              let [cpu, memory] = [0, 0]
              const used = new Set<string>()
              const work =
                ({ ticks }: (typeof tasks)[number]) =>
                (granted: Slots.Granted) =>
                  Effect.acquireUseRelease(
                    Effect.sync(() => {
                      cpu += granted.cpu
                      memory += granted.memory
                      for (const gpu of granted.slots["gpu"] ?? []) {
                        expect(used.has(gpu)).toBe(false)
                        used.add(gpu)
                      }
                      expect(cpu).toBeLessThanOrEqual(4)
                      expect(memory).toBeLessThanOrEqual(100)
                    }),
                    () => Effect.repeatN(Effect.yieldNow(), ticks),
                    () =>
                      Effect.sync(() => {
                        cpu -= granted.cpu
                        memory -= granted.memory
                        for (const gpu of granted.slots["gpu"] ?? []) used.delete(gpu)
                      })
                  )
              const fibers = yield* Effect.forEach(tasks, (task) =>
                Effect.gen(function* () {
                  const { cpu, memory, gpu, priority, quits } = task
                  const wanted = want({ cpu, memory, slots: gpu === 0 ? {} : { gpu } })
                  const fiber = yield* Effect.fork(
                    Effect.scoped(Effect.flatMap(slots.take(wanted, priority), work(task)))
                  )
                  if (quits) {
                    yield* Effect.yieldNow()
                    yield* Fiber.interrupt(fiber)
                  }
                  return fiber
                })
              )
              yield* Effect.forEach(fibers, Fiber.await)
              const everything = yield* taker(
                slots,
                want({ cpu: 4, memory: 100, slots: { gpu: 2, licence: 1 } })
              )
              expect((yield* everything.granted).slots["gpu"]).toEqual(["a", "b"])
            })
          )
      ),
      { numRuns: 200 }
    ))
})

describe("what a stage wants", () => {
  it("of cores and memory is cut to all there is", () => {
    const wanted = Slots.wanted("n", { cpu: 64, memory: 1e9 }, capacity)
    expect(Either.getOrThrow(wanted)).toEqual({ cpu: 4, memory: 100, slots: {} })
  })

  it("of named slots is refused where there are fewer", () => {
    const error = Either.flip(Slots.wanted("train", { gpu: 3 }, capacity))
    expect(Either.getOrThrow(error)).toMatchObject({ reason: "Resources", where: "train" })
    expect(Either.getOrThrow(error).message).toContain("needs 3 gpu slots, and the run has 2")
  })
})
