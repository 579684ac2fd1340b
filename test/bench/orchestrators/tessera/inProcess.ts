/**
 * One run of a graph by the engine alone: prints the seconds it took, the start of the process left out.
 */
import { run } from "@tessera/engine"
import { FileStore } from "@tessera/store"
import { Effect } from "effect"
import { chain, fan } from "./noop.js"

const [graph, root = ""] = process.argv.slice(2)
const started = performance.now()
const program = graph === "chain" ? run(chain) : run(fan)
const { cached, executed } = await Effect.runPromise(Effect.provide(program, FileStore.layer({ root })))
process.stdout.write(
  `${JSON.stringify({ seconds: (performance.now() - started) / 1000, cached, executed })}\n`
)
