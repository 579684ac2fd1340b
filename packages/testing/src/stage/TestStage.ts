/**
 * The contract of a stage, for every stage.
 */
import type { AnyStage, Ports, Stage } from "@tessera/core"
import { type Effect, Layer, ManagedRuntime } from "effect"
import { afterAll, describe, it } from "vitest"
import type { Checks } from "../Check.js"
import { type Conditions, behaviourChecks } from "./Behaviour.js"
import { contractChecks } from "./Contract.js"
import type { StageFixture, StageTrial } from "./Fixture.js"

/** Every check; they need the services of the stage. */
export const stageChecks = <In extends Ports, Out extends Ports, P, E, R>(
  stage: Stage<In, Out, P, E, R>,
  trial: StageTrial<In, P>
): Checks<R> => untyped(stage, trial as Conditions)

const untyped = <R>(stage: AnyStage, trial: Conditions): Checks<R> => ({
  ...contractChecks<R>(stage, trial),
  ...behaviourChecks<R>(stage, trial)
})

/** Registers the checks as vitest tests. They run in a pool of processes (`forks`), as the working folder is changed. */
export const testStage = <In extends Ports, Out extends Ports, P, E, R>(
  stage: Stage<In, Out, P, E, R>,
  fixture: StageFixture<In, P, R>
): void => {
  describe(`the stage ${stage.id}`, () => {
    const layer = (fixture.layer ?? Layer.empty) as Layer.Layer<R, unknown>
    const runtime = ManagedRuntime.make(layer)
    afterAll(() => runtime.dispose())
    for (const [title, check] of Object.entries<Effect.Effect<void, unknown, R>>(stageChecks(stage, fixture)))
      it(title, () => runtime.runPromise(check), 120_000)
  })
}
