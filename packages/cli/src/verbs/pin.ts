/**
 * `tessera pin`: artifacts that `tessera gc` leaves alone.
 */
import { Pin, Store } from "@tessera/store"
import { DateTime, Effect, Schema } from "effect"
import { CliError } from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import { resolve } from "../Reference.js"
import { storeLayer } from "../StoreLayer.js"

export interface PinArgs {
  /** Lists the pins where it is left out. */
  readonly name: string | undefined
  readonly artifact: string | undefined
  readonly remove: boolean
  readonly store: string
  readonly json: boolean
}

const list = (json: boolean) =>
  Effect.gen(function* () {
    const pins = yield* Effect.flatMap(Store, (store) => store.maintenance.pins)
    if (json) return yield* Output.json(pins)
    if (pins.length === 0) return yield* Output.out("Nothing is pinned.")
    yield* Output.out(
      Format.columns([
        { title: "pin", cells: pins.map(({ name }) => name) },
        { title: "type", cells: pins.map(({ artifact }) => artifact.type) },
        { title: "size", align: "right", cells: pins.map(({ artifact }) => Format.bytes(artifact.size)) },
        { title: "digest", cells: pins.map(({ artifact }) => Format.digest(artifact.digest)) },
        { title: "since", cells: pins.map(({ at }) => Format.moment(at)) }
      ])
    )
  })

const wrong = (where: string, detail: string, hint: string) =>
  new CliError({ reason: "Artifact", where, detail, hint })

export const pin = (args: PinArgs) =>
  Effect.gen(function* () {
    const { name, artifact } = args
    if (name === undefined) return yield* list(args.json)
    const { maintenance } = yield* Store
    if (args.remove) {
      if (yield* maintenance.unpin(name)) return yield* Output.out(`${name} is no longer pinned.`)
      return yield* wrong(name, "there is no such pin", "tessera pin lists them.")
    }
    if (artifact === undefined) {
      return yield* wrong(name, "says nothing to pin", "Give an artifact too: tessera pin best kernels.")
    }
    if (!Schema.is(Pin.fields.name)(name)) {
      return yield* wrong(
        name,
        "is not a name for a pin",
        "Use letters, digits, dots, dashes and underscores."
      )
    }
    const { artifacts } = yield* resolve(artifact)
    const [only] = artifacts
    if (only === undefined || artifacts.length > 1) {
      return yield* wrong(artifact, `is ${artifacts.length} shards`, "Pin one of them: node.port[shard].")
    }
    const at = DateTime.formatIso(yield* DateTime.now)
    yield* maintenance.pin({ name, artifact: only.artifact, at })
    yield* args.json
      ? Output.json({ name, artifact: only.artifact, at })
      : Output.out(`${name} is pinned: ${only.artifact.type} ${Format.digest(only.artifact.digest)}`)
  }).pipe(Effect.provide(storeLayer(args.store)))
