/**
 * Does a job in this process: rebuilds the graph from the pipeline's module, makes sure that it means the same execution,
 * and runs it.
 */
import type { Pipeline, Progress } from "@tessera/core"
import type { Store } from "@tessera/store"
import { Effect, Predicate, Scope } from "effect"
import { at } from "./Commit.js"
import { differences } from "./Difference.js"
import { EngineError } from "./Errors.js"
import type { Job, JobResult } from "./Job.js"
import { toResult } from "./JobFailure.js"
import * as Keys from "./Keys.js"
import { prepare } from "./Prepare.js"
import { place, produce } from "./Produce.js"
import * as Services from "./Services.js"

const isPipeline = (value: unknown): value is Pipeline.Runnable =>
  Predicate.hasProperty(value, "build") && Predicate.hasProperty(value, "layer")

const load = ({ module }: Job): Effect.Effect<Pipeline.Runnable, EngineError> => {
  const wrong = (detail: string, cause?: unknown) =>
    new EngineError({ reason: "Job", where: module, detail, cause })
  return Effect.tryPromise({
    try: (): Promise<unknown> => import(module),
    catch: (cause) =>
      wrong(`cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, cause)
  }).pipe(
    Effect.flatMap((loaded) => {
      const pipeline = Predicate.hasProperty(loaded, "default") ? loaded.default : undefined
      return isPipeline(pipeline)
        ? Effect.succeed(pipeline)
        : Effect.fail(wrong("its default export is not a pipeline"))
    })
  )
}

/** Never fails: what went wrong is the result. */
export const runJob = (
  job: Job,
  report: (progress: Progress) => Effect.Effect<void>
): Effect.Effect<JobResult, never, Store> =>
  Effect.gen(function* () {
    const where = at(job.node, job.shard)
    const refuse = (detail: string) => new EngineError({ reason: "Job", where: place(where), detail })
    const pipeline = yield* load(job)
    const { nodes } = yield* prepare(pipeline, { params: job.params, set: job.set })
    const prepared = nodes.find(({ name }) => name === job.node)
    if (prepared === undefined) return yield* refuse(`${job.module} has no such node any more`)
    const services = yield* Services.make(pipeline, yield* Scope.Scope)
    const keys = yield* Keys.make([prepared], services)
    const keyed = yield* keys.keyed(prepared, job.inputs)
    if (keyed.key !== job.key) {
      const words = differences(job.manifest, keyed.manifest, { before: undefined, after: undefined })
      return yield* refuse(
        `means something else in the process that was to run it (${words.join("; ")}): its code was edited during the run, or its services depend on the process; run again`
      )
    }
    return yield* Effect.match(
      produce(services, where, prepared, job.inputs, { slots: job.slots, scratch: job.scratch, report }),
      {
        onSuccess: (outputs): JobResult => ({ _tag: "Succeeded", outputs }),
        onFailure: (error) => toResult(error, prepared.node.stage.spec.retry)
      }
    )
  }).pipe(
    Effect.catchAll((error) => Effect.succeed(toResult(error))),
    Effect.scoped
  )
