import { ArtifactError, GraphError } from "@tessera/core"
import { EngineError, StageFailed } from "@tessera/engine"
import { StoreError } from "@tessera/store"
import { Cause, FiberId } from "effect"
import { describe, expect, it } from "vitest"
import { CliError, fromCause } from "../src/Failure.js"

const full = new StoreError({
  reason: "NoSpace",
  path: "/store/blobs",
  detail: "no space is left on the disk"
})
const failed = new StageFailed({ node: "profile", shard: "512", cause: new Error("3 tensors are missing") })

describe("the exit code", () => {
  const codes = [
    [
      "2 for a wrong command",
      2,
      new CliError({ reason: "Parameter", where: "--param a", detail: "expected name=value" })
    ],
    [
      "2 for a wrong graph",
      2,
      new GraphError({ reason: "UnknownParameter", where: "pipeline p", detail: "no a" })
    ],
    [
      "2 for code that cannot be keyed",
      2,
      new EngineError({ reason: "Code", where: "stage a", detail: "no module" })
    ],
    ["1 for a failed stage", 1, failed],
    ["1 for a wrong output", 1, new EngineError({ reason: "Output", where: "stage a", detail: "no port b" })],
    ["3 for the store", 3, full],
    [
      "3 for a stage whose input is damaged",
      3,
      new StageFailed({
        node: "profile",
        cause: new ArtifactError({ reason: "Corrupt", artifact: "sha256:12", detail: "is not an Arrow file" })
      })
    ],
    [
      "1 for a stage whose input has another schema",
      1,
      new StageFailed({
        node: "profile",
        cause: new ArtifactError({ reason: "SchemaMismatch", artifact: "sha256:12", detail: "no column a" })
      })
    ],
    ["3 for a stage whose commit the store refused", 3, new StageFailed({ node: "profile", cause: full })]
  ] as const
  it.each(codes)("is %s", (_, exit, error) => {
    expect(fromCause(Cause.fail(error)).exit).toBe(exit)
  })

  it("is 130 for an interrupt, and the failure's where one stage failed and the others were interrupted", () => {
    expect(fromCause(Cause.interrupt(FiberId.none)).exit).toBe(130)
    expect(fromCause(Cause.parallel(Cause.interrupt(FiberId.none), Cause.fail(failed)))).toMatchObject({
      exit: 1,
      message: "stage profile (shard 512) failed: 3 tensors are missing"
    })
  })

  it("is 2 for a service that nobody provides, however deep the defect is", () => {
    const missing = new Error("Service not found: @tessera/runtime/ModelRuntime (defined at /x/y.ts:1:1)")
    const wrapped = new EngineError({
      reason: "Defect",
      where: "stage a",
      detail: "it threw",
      cause: Cause.die(missing)
    })
    for (const cause of [Cause.die(missing), Cause.fail(wrapped)]) {
      expect(fromCause(cause)).toMatchObject({
        exit: 2,
        reason: "MissingService",
        message: "the pipeline needs the service @tessera/runtime/ModelRuntime, which nothing provides"
      })
    }
  })

  it("is 1 for a defect, with a way to see more", () => {
    expect(fromCause(Cause.die(new TypeError("x is not a function")))).toMatchObject({
      exit: 1,
      message: "x is not a function",
      hint: expect.stringContaining("--verbose")
    })
  })
})
