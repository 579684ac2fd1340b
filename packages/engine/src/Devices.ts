/**
 * The GPUs of a machine, between the runs of one user on it: who uses one holds its lease, so that two runs never hand
 * out the same one. Runs of other users, and in containers with a temporary folder of their own, are not known of.
 */
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"
import { Leases, type StoreError } from "@tessera/store"
import { Effect, Exit, Scope } from "effect"
import type { Capacity, Granted } from "./Slots.js"

/** How often a run that waits for other runs' GPUs looks. */
const LOOK = "200 millis"

const place = (): Leases.Place => {
  // A batch job may see only its own devices, counted from 0 again: what it calls 0 is no other job's.
  const job = process.env["SLURM_JOB_ID"]
  const root = join(tmpdir(), `tessera-${userInfo().username}`, job === undefined ? "devices" : `job-${job}`)
  return {
    temporary: join(root, "tmp"),
    leases: join(root, "leases"),
    lease: (name) => join(root, "leases", name.replace(/[^\w.-]/g, "_"))
  }
}

/**
 * Waits until so many of these devices are free, and holds them until the scope closes. All of them or none: two that
 * each hold what the other lacks would wait for ever.
 */
const hold = (
  names: ReadonlyArray<string>,
  count: number
): Effect.Effect<ReadonlyArray<string>, StoreError, Scope.Scope> =>
  Effect.suspend(() => {
    const here = place()
    const claims = names.map((name) => [name, Leases.claim(here, `gpu-${name}`, () => Effect.void)] as const)
    const claimAll = Effect.gen(function* () {
      const held: Array<string> = []
      for (const [name, claim] of claims) if (held.length < count && (yield* claim)) held.push(name)
      return held
    })
    /** Nothing stays behind where it gets too few, fails or is interrupted. */
    const once = Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const held = yield* Effect.exit(restore(Scope.extend(claimAll, scope)))
        if (Exit.isSuccess(held) && held.value.length === count)
          yield* Effect.addFinalizer((exit) => Scope.close(scope, exit))
        else yield* Scope.close(scope, Exit.void)
        return yield* held
      })
    )
    const again = (
      held: ReadonlyArray<string>
    ): Effect.Effect<ReadonlyArray<string>, StoreError, Scope.Scope> =>
      held.length === count ? Effect.succeed(held) : Effect.flatMap(Effect.delay(once, LOOK), again)
    return Effect.flatMap(once, again)
  })

/**
 * Waits for GPUs that no other run on this machine uses, in place of those that only this run does not use.
 *
 * @param warn hears where the leases cannot be kept: then it goes on with what the run alone granted
 */
export const between = (
  granted: Granted,
  capacity: Capacity,
  warn: (detail: string) => Effect.Effect<void>
): Effect.Effect<Granted, never, Scope.Scope> => {
  const { gpu = [] } = granted.slots
  if (gpu.length === 0) return Effect.succeed(granted)
  return hold(capacity.slots["gpu"] ?? gpu, gpu.length).pipe(
    Effect.map((held) => ({ ...granted, slots: { ...granted.slots, gpu: held } })),
    Effect.catchAll(({ message }) =>
      Effect.as(warn(`other runs on this machine are not asked whether they use a GPU: ${message}`), granted)
    )
  )
}
