/**
 * Checks: what a suite asks, as effects that succeed or say what is violated. Suites register them as vitest tests; a
 * test of a suite runs them by themselves.
 */
import { inspect, isDeepStrictEqual } from "node:util"
import { Cause, Data, Effect, Exit } from "effect"
import { describe, it } from "vitest"

/** The contract is not kept. */
export class Violation extends Data.TaggedError("Violation")<{
  /** What was expected, and what came instead. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return this.detail
  }
}

/** Checks by what they say of a good implementation. */
export type Checks<R = never> = Readonly<Record<string, Effect.Effect<void, unknown, R>>>

export const violated = (detail: string, cause?: unknown): Effect.Effect<never, Violation> =>
  Effect.fail(new Violation({ detail, cause }))

export const ensure = (kept: boolean, detail: string): Effect.Effect<void, Violation> =>
  kept ? Effect.void : violated(detail)

const show = (value: unknown) => inspect(value, { depth: 6, breakLength: 120, maxStringLength: 400 })

export const same = (actual: unknown, expected: unknown, what: string): Effect.Effect<void, Violation> =>
  ensure(isDeepStrictEqual(actual, expected), `${what}: expected ${show(expected)}, got ${show(actual)}`)

/**
 * The error of an effect that must fail with one of these tags. Success, a defect and an untagged error are violations.
 */
export const refused = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  tags: ReadonlyArray<string>,
  what: string
): Effect.Effect<{ readonly _tag: string; readonly reason?: unknown }, Violation, R> =>
  Effect.flatMap(Effect.exit(effect), (exit) => {
    if (Exit.isSuccess(exit)) return violated(`${what}: expected ${tags.join(" or ")}, but it was accepted`)
    const failure = Cause.failureOption(exit.cause)
    const error = failure._tag === "Some" ? tagged(failure.value) : undefined
    return error !== undefined && tags.includes(error._tag)
      ? Effect.succeed(error)
      : violated(`${what}: expected ${tags.join(" or ")}, got ${Cause.pretty(exit.cause)}`, exit.cause)
  })

/** An error with a tag, as services of this project fail. */
export const tagged = (error: unknown): { readonly _tag: string; readonly reason?: unknown } | undefined =>
  typeof error === "object" && error !== null && "_tag" in error && typeof error._tag === "string"
    ? (error as { readonly _tag: string })
    : undefined

/** Registers checks as the tests of one suite. */
export const register = (name: string, checks: Checks, options: { readonly timeout?: number } = {}): void => {
  describe(name, () => {
    for (const [title, check] of Object.entries(checks)) {
      it(title, () => Effect.runPromise(check), options.timeout ?? 60_000)
    }
  })
}
