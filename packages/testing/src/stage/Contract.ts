/**
 * Checks of what a stage says of itself: parameters, module, fingerprint.
 */
import { existsSync, realpathSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { type AnyStage, canonicalJson, type Fingerprint } from "@tessera/core"
import { plan } from "@tessera/engine"
import { MemoryStore, type Store } from "@tessera/store"
import { Effect, Schema } from "effect"
import { type Checks, ensure, refused, same, violated } from "../Check.js"
import { NODE, type Trial, whole } from "./Trial.js"

const effectFrom = (file: string): string | undefined => {
  try {
    return realpathSync(createRequire(file).resolve("effect/package.json"))
  } catch {
    // Not installed beside it: it got the one it is loaded with.
    return undefined
  }
}

export const contractChecks = <R>(subject: AnyStage, trial: Trial): Checks<R> => {
  const { spec } = subject
  const encodedOf = (params: unknown) =>
    Effect.gen(function* () {
      const decoded: unknown = yield* Schema.decodeUnknown(spec.params, { onExcessProperty: "error" })(params)
      const encoded: unknown = yield* Schema.encodeUnknown(spec.params)(decoded)
      return { decoded, text: yield* canonicalJson(encoded, `params of ${subject.id}`) }
    })

  return {
    "keeps its parameters through their encoding, defaults applied": Effect.gen(function* () {
      const first = yield* encodedOf(trial.params)
      const encoded = JSON.parse(first.text) as Record<string, unknown>
      const second = yield* encodedOf(encoded)
      yield* same(second.text, first.text, "parameters encoded, decoded and encoded again")
      yield* same(second.decoded, first.decoded, "parameters decoded from what the key holds")
      for (const [name, value] of Object.entries(trial.defaults ?? {}))
        yield* same(encoded[name], value, `the default of ${name}`)
    }),

    "refuses a parameter that it does not have": Effect.gen(function* () {
      const set = { [NODE]: { "no such parameter": 1 } }
      const attempt = plan(whole(subject, trial), { set }) as Effect.Effect<unknown, unknown, R | Store>
      yield* refused(attempt, ["GraphError"], "a surplus parameter")
    }).pipe(Effect.provide(MemoryStore.layer)),

    "names the module that defines it": Effect.suspend(() => {
      const file = fileURLToPath(new URL(spec.module))
      return ensure(existsSync(file), `its module ${spec.module} is not there; give import.meta.url`)
    }),

    "says the same of its services each time": Effect.gen(function* () {
      if (spec.fingerprint === undefined) {
        return yield* ensure(
          spec.reproducible !== "device",
          "it is reproducible per device, but has no fingerprint that names the device"
        )
      }
      const ask = spec.fingerprint as Effect.Effect<Fingerprint, unknown, R>
      const [first, second] = [yield* ask, yield* ask]
      yield* same(second, first, "its fingerprint, asked again")
      yield* ensure(
        spec.reproducible !== "device" || Object.keys(first.device ?? {}).length > 0,
        "it is reproducible per device, but its fingerprint says nothing of the device"
      )
      for (const module of first.modules ?? []) {
        const there = existsSync(fileURLToPath(new URL(module)))
        yield* ensure(there, `the module ${module} of its fingerprint is not there`)
      }
    }),

    "shares one copy of effect with the engine": Effect.gen(function* () {
      const [own, ours] = [
        effectFrom(fileURLToPath(new URL(spec.module))),
        effectFrom(fileURLToPath(import.meta.url))
      ]
      if (own !== undefined && own !== ours)
        yield* violated(
          `two copies of effect do not know each other's values: it has ${own}, the engine ${ours}`
        )
    })
  }
}
