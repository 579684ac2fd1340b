/** What suites say of implementations. */
import { type Cause, Effect, Exit } from "effect"
import type { Checks } from "../src/index.js"

/** The checks (those whose title matches) that fail, each with what it says. */
export const violations = async (checks: Checks, of = /./): Promise<Readonly<Record<string, string>>> => {
  const failed: Record<string, string> = {}
  for (const [title, check] of Object.entries(checks)) {
    if (!of.test(title)) continue
    const exit = await Effect.runPromiseExit(check)
    if (Exit.isFailure(exit)) failed[title] = describe(exit.cause)
  }
  return failed
}

const describe = (cause: Cause.Cause<unknown>): string =>
  cause._tag === "Fail" && cause.error instanceof Error ? cause.error.message : String(cause)
