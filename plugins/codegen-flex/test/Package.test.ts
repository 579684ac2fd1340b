import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import type { Plan } from "@tessera/attention"
import { Effect, Schema } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { runPython, writePackage } from "../../../test/python/Package.js"
import { torchPython } from "../../../test/python/Torch.js"
import { odd, small } from "../../codegen-triton/test/plans.js"
import { emitFiles, EmitFlexParams } from "../src/index.js"

const python = await torchPython("the masks of emitted packages are not run")

const patience = 10 * 60_000

describe.skipIf(python === undefined)("an emitted package", () => {
  let folder = ""

  const write = async (plan: Plan): Promise<string> => {
    const params = Schema.decodeSync(EmitFlexParams)({ lengths: [500, 4096] })
    const files = await Effect.runPromise(emitFiles(plan, params).pipe(Effect.provide(NodeFileSystem.layer)))
    return writePackage(join(folder, plan.name), files)
  }

  const run = (cwd: string, ...args: ReadonlyArray<string>) =>
    runPython(python ?? "", join(folder, "bytecode"), cwd, ...args)

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tessera-flex-"))
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  it.each([small, odd])("passes its own tests: $name", { timeout: patience }, async (plan) => {
    const output = await run(await write(plan), "-m", "pytest", "-q")
    expect(output).toMatch(/\d+ passed/)
    expect(output).not.toMatch(/failed|error/)
  })

  it(
    "is clean under ruff and strict mypy, and its templates are formatted",
    { timeout: patience },
    async () => {
      const target = await write(small)
      expect(await run(target, "-m", "ruff", "check", "--no-cache", ".")).toContain("All checks passed")
      expect(await run(target, "-m", "mypy", "--no-incremental")).toContain("no issues found")
      const template = fileURLToPath(new URL("../python/template", import.meta.url))
      expect(await run(template, "-m", "ruff", "format", "--no-cache", "--check", ".")).toMatch(
        /already formatted/
      )
    }
  )
})
