/** The executors' suite finds what a bad executor does wrong. */
import { spawn } from "node:child_process"
import { EngineError, type Executor, inline } from "@tessera/engine"
import { Effect } from "effect"
import { afterEach, expect, it } from "vitest"
import { executorChecks } from "../src/index.js"
import { violations } from "./Outcomes.js"

const started: Array<ReturnType<typeof spawn>> = []
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL")
})

it.each<readonly [string, RegExp, Executor["run"]]>([
  [
    "gives one output in place of all",
    /that this process gives/,
    ({ here }) =>
      Effect.map(here, (outputs) => {
        const [first] = Object.values(outputs)
        return Object.fromEntries(Object.keys(outputs).flatMap((port) => (first ? [[port, first]] : [])))
      })
  ],
  [
    "hides why a stage failed",
    /with its tag/,
    ({ here }) =>
      Effect.mapError(here, () => new EngineError({ reason: "Lost", where: "work", detail: "it ended" }))
  ],
  [
    "leaves a process when it is interrupted",
    /ends all that it started/,
    ({ here }) =>
      Effect.zipRight(
        Effect.sync(() => started.push(spawn("sleep", ["60"], { stdio: "ignore" }))),
        here
      )
  ]
])("finds an executor that %s", async (_, title, run) => {
  const found = await violations(
    executorChecks({ executor: { ...inline, name: "bad", run }, patience: "500 millis" }),
    title
  )
  expect(Object.keys(found)).toHaveLength(1)
})
