/**
 * `tessera verify <pipeline>`: executes stored results again and compares.
 */
import { reproduce as execute, type Reproduced } from "@tessera/engine"
import { Effect } from "effect"
import { CliError } from "../Failure.js"
import * as Format from "../Format.js"
import { loadArgs, type PipelineArgs } from "../Load.js"
import * as Output from "../Output.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface ReproduceArgs extends PipelineArgs {
  readonly node: ReadonlyArray<string>
  readonly store: string
  readonly json: boolean
}

const line = ({ node, shard, outcome, outputs, error, millis }: Reproduced): string => {
  const { good, bad, dim } = Output.style
  const at = shard === undefined ? node : `${node}[${shard}]`
  if (outcome === "equal") return `${good("=")} ${at}  ${dim(`equal, ${Format.duration(millis)}`)}`
  if (outcome === "failed") return `${bad("✗")} ${at}  failed: ${error}`
  const ports = Object.entries(outputs).map(
    ([port, [stored, again]]) =>
      `${port} ${Format.digest(stored.digest)} → ${again === undefined ? "nothing" : Format.digest(again.digest)}`
  )
  return `${bad("≠")} ${at}  ${ports.join(", ")}`
}

export const reproduce = (args: ReproduceArgs) =>
  Effect.gen(function* () {
    const { pipeline, options } = yield* loadArgs(args)
    const tell = (task: Reproduced) => (args.json ? Effect.void : Output.out(line(task)))
    const all = yield* execute(pipeline, args.node, options, tell)
    const wrong = all.filter(({ outcome }) => outcome !== "equal")
    if (args.json) yield* Output.json(all)
    else
      yield* Output.out(
        `${all.length} executed again: ${all.length - wrong.length} equal, ${wrong.length} not`
      )
    const [first] = wrong
    if (first !== undefined) {
      return yield* new CliError({
        reason: "Reproduced",
        where: first.node,
        detail: `${wrong.length} of ${all.length} results are not what their stages give now; the stages depend on something that is in no key (time, chance, order of threads, the environment)`,
        hint: `Look at both with tessera show, and repair the stage, or say reproducible: "device" or "no" in it.`
      })
    }
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
