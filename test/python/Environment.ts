/**
 * Pythons for tests: the one an environment variable names, or an environment made once per lock file in the user's
 * cache folder, as `tessera doctor --install torch` makes it.
 */
import {
  type BasePython,
  basePython,
  makeEnvironment,
  type Wanted as Environment
} from "@tessera/runtime-torch"
import { Effect, Either } from "effect"

export interface Wanted extends Environment {
  /** Names an interpreter that has them already. */
  readonly variable: string
  /** Set where there are packages for Linux only: why. */
  readonly linuxOnly?: string
}

export type Found =
  (Wanted & { readonly base: BasePython }) | { readonly ready: string } | { readonly skip: string }

/** A Python to make the environment with, or why there is none. */
export const findPython = async (wanted: Wanted): Promise<Found> => {
  const given = process.env[wanted.variable]
  if (given !== undefined && given !== "") return { ready: given }
  if (wanted.linuxOnly !== undefined && process.platform !== "linux") {
    return { skip: `${wanted.linuxOnly}; set ${wanted.variable}` }
  }
  const base = await Effect.runPromise(Effect.either(basePython))
  return Either.isRight(base)
    ? { ...wanted, base: base.right }
    : { skip: `${base.left.message}; or set ${wanted.variable}` }
}

/** The interpreter of the environment; makes the environment first where this lock file has none yet. */
export const interpreter = (found: Exclude<Found, { readonly skip: string }>): Promise<string> =>
  "ready" in found ? Promise.resolve(found.ready) : Effect.runPromise(makeEnvironment(found, found.base))
