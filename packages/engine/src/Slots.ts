/**
 * What a run has of cores, memory and named slots, and who gets them next.
 */
import type { Resources } from "@tessera/core"
import { Effect, Either, type Scope } from "effect"
import { EngineError } from "./Errors.js"

/** What a machine lends to a run. */
export interface Capacity {
  readonly cpu: number
  /** Bytes. */
  readonly memory: number
  /** What each slot of a name is called, such as `{ gpu: ["0", "1"] }`. */
  readonly slots: Readonly<Record<string, ReadonlyArray<string>>>
}

/** What one execution holds. */
export interface Granted {
  readonly cpu: number
  readonly memory: number
  readonly slots: Readonly<Record<string, ReadonlyArray<string>>>
}

export interface Slots {
  readonly capacity: Capacity
  /**
   * Waits for all that is wanted at once, and gives it back when the scope closes.
   *
   * @param priority higher goes first. What the first one in line waits for is kept from those behind it, so that small
   *   tasks do not starve a large one.
   */
  readonly take: (wanted: Granted.Wanted, priority: number) => Effect.Effect<Granted, never, Scope.Scope>
}

export declare namespace Granted {
  /** Numbers of everything, none above the capacity. */
  interface Wanted {
    readonly cpu: number
    readonly memory: number
    readonly slots: Readonly<Record<string, number>>
  }
}

/** What a stage's resources mean on this capacity. Named slots that are not there are an error: they would never come. */
export const wanted = (
  node: string,
  resources: Resources | undefined,
  capacity: Capacity
): Either.Either<Granted.Wanted, EngineError> => {
  const { cpu = 1, memory = 0, gpu = 0, slots = {} } = resources ?? {}
  const named: Record<string, number> = { ...slots, ...(gpu > 0 ? { gpu: Math.ceil(gpu) } : {}) }
  for (const [name, count] of Object.entries(named)) {
    const there = capacity.slots[name]?.length ?? 0
    if (count > there) {
      return Either.left(
        new EngineError({
          reason: "Resources",
          where: node,
          detail: `needs ${count} ${name} slot${count === 1 ? "" : "s"}, and the run has ${there === 0 ? "none" : there}; give it some with --slot ${name}=${count} (RunOptions.slots), or run it where there are some`
        })
      )
    }
  }
  return Either.right({
    cpu: Math.max(1, Math.min(Math.ceil(cpu), capacity.cpu)),
    memory: Math.min(memory, capacity.memory),
    slots: named
  })
}

interface Waiter {
  readonly wanted: Granted.Wanted
  readonly priority: number
  readonly resume: (granted: Granted) => void
}

export const make = (capacity: Capacity): Slots => {
  let { cpu, memory } = capacity
  const free = new Map(Object.entries(capacity.slots).map(([name, all]) => [name, [...all]]))
  const waiting: Array<Waiter> = []

  const grant = ({ wanted, resume }: Waiter): void => {
    cpu -= wanted.cpu
    memory -= wanted.memory
    const slots: Record<string, ReadonlyArray<string>> = {}
    for (const [name, count] of Object.entries(wanted.slots))
      slots[name] = free.get(name)?.splice(0, count) ?? []
    resume({ cpu: wanted.cpu, memory: wanted.memory, slots })
  }

  /** Starts who can start, in order. What the first who cannot waits for is kept from those behind it. */
  const serve = (): void => {
    const left = { cpu, memory, named: new Map([...free].map(([name, all]) => [name, all.length])) }
    const subtract = ({ wanted }: Waiter) => {
      left.cpu -= wanted.cpu
      left.memory -= wanted.memory
      for (const [name, count] of Object.entries(wanted.slots))
        left.named.set(name, (left.named.get(name) ?? 0) - count)
    }
    const fits = ({ wanted }: Waiter) =>
      wanted.cpu <= left.cpu &&
      wanted.memory <= left.memory &&
      Object.entries(wanted.slots).every(([name, count]) => count <= (left.named.get(name) ?? 0))
    let reserved = false
    for (let i = 0; i < waiting.length && left.cpu > 0;) {
      const waiter = waiting[i] as Waiter
      if (fits(waiter)) {
        subtract(waiter)
        waiting.splice(i, 1)
        grant(waiter)
        continue
      }
      if (!reserved) subtract(waiter)
      reserved = true
      i++
    }
  }

  const enqueue = (waiter: Waiter): void => {
    let [low, high] = [0, waiting.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((waiting[middle]?.priority ?? 0) >= waiter.priority) low = middle + 1
      else high = middle
    }
    waiting.splice(low, 0, waiter)
    serve()
  }

  const giveBack = (granted: Granted): void => {
    cpu += granted.cpu
    memory += granted.memory
    for (const [name, ids] of Object.entries(granted.slots)) {
      const all = capacity.slots[name] ?? []
      const back = [...(free.get(name) ?? []), ...ids]
      // In the order of the machine: the first ones are used first, which keeps caches and logs readable.
      free.set(
        name,
        back.sort((a, b) => all.indexOf(a) - all.indexOf(b))
      )
    }
    serve()
  }

  return {
    capacity,
    take: (wanted, priority) =>
      Effect.suspend(() => {
        let granted: Granted | undefined
        let wake: (granted: Granted) => void = () => undefined
        const waiter: Waiter = {
          wanted,
          priority,
          resume: (got) => {
            granted = got
            wake(got)
          }
        }
        // Registered before waiting: whenever the scope closes, what was granted by then comes back.
        const end = Effect.sync(() => {
          const at = waiting.indexOf(waiter)
          if (at >= 0) waiting.splice(at, 1)
          if (granted === undefined) serve()
          else giveBack(granted)
        })
        const wait = Effect.async<Granted>((resume) => {
          wake = (got) => resume(Effect.succeed(got))
          enqueue(waiter)
        })
        return Effect.zipRight(
          Effect.addFinalizer(() => end),
          wait
        )
      })
  }
}
