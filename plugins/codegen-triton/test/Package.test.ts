import { cp, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import type { Plan } from "@tessera/attention"
import { Effect, Schema } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { runPython, writePackage } from "../../../test/python/Package.js"
import { torchPython } from "../../../test/python/Torch.js"
import { emitFiles, EmitTritonParams } from "../src/index.js"
import { odd, small } from "./plans.js"

const python = await torchPython("the kernels of emitted packages are not run")

const patience = 20 * 60_000

describe.skipIf(python === undefined)("an emitted package", () => {
  let folder = ""

  const write = async (plan: Plan): Promise<string> => {
    const params = Schema.decodeSync(EmitTritonParams)({ lengths: [500, 4096] })
    const files = await Effect.runPromise(emitFiles(plan, params).pipe(Effect.provide(NodeFileSystem.layer)))
    return writePackage(join(folder, plan.name), files)
  }

  const run = (cwd: string, ...args: ReadonlyArray<string>) =>
    runPython(python ?? "", join(folder, "bytecode"), cwd, ...args)

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tessera-triton-"))
  })

  afterAll(() => rm(folder, { recursive: true, force: true }))

  // Each keeps one core busy.
  it.concurrent("passes its own tests where rules are per query head", { timeout: patience }, async () => {
    const output = await run(await write(small), "-m", "pytest", "-q", "-W", "ignore::DeprecationWarning")
    expect(output).toMatch(/\d+ passed/)
    expect(output).not.toMatch(/failed|error/)
  })

  it.concurrent(
    "passes its own tests where blocks fit no tile, there is no sink and rules are per KV head",
    { timeout: patience },
    async () => {
      const output = await run(
        await write(odd),
        "-m",
        "pytest",
        "-q",
        "-W",
        "ignore::DeprecationWarning",
        // The kernel for Hopper is compiled in the test before this one, whatever the plan.
        "--deselect",
        "tests/test_hopper.py::test_it_compiles_to_the_instructions_of_hopper_without_a_gpu"
      )
      expect(output).toMatch(/\d+ passed/)
    }
  )

  it("is clean under ruff and strict mypy", { timeout: patience }, async () => {
    const target = await write(small)
    expect(await run(target, "-m", "ruff", "check", "--no-cache", ".")).toContain("All checks passed")
    expect(await run(target, "-m", "mypy", "--no-incremental")).toContain("no issues found")
  })

  it("has templates that are clean and formatted", { timeout: patience }, async () => {
    const template = fileURLToPath(new URL("../python/template", import.meta.url))
    expect(await run(template, "-m", "ruff", "check", "--no-cache", ".")).toContain("All checks passed")
    expect(await run(template, "-m", "ruff", "format", "--no-cache", "--check", ".")).toMatch(
      /already formatted/
    )
  })

  it("fails its tests when its span arithmetic is not the emitter's", { timeout: patience }, async () => {
    const target = await write(small)
    const broken = join(folder, "broken")
    await cp(target, broken, { recursive: true })
    const constants = join(broken, "src", "tessera_moa_25", "constants.py")
    await writeFile(
      constants,
      (await run(broken, "-c", `print(open(${JSON.stringify(constants)}).read())`)).replace(
        "(0.0, 0.25)",
        "(0.0, 0.26)"
      )
    )
    await expect(run(broken, "-m", "pytest", "-q", "tests/test_spans.py")).rejects.toThrow(
      /windows_and_densities/
    )
  })

  it("installs", { timeout: patience }, async () => {
    const target = await write(small)
    const site = join(folder, "site")
    await run(
      target,
      "-m",
      "pip",
      "install",
      "-q",
      "--no-deps",
      "--no-build-isolation",
      "--no-index",
      "--target",
      site,
      "."
    )
    const program = `import sys; sys.path.insert(0, ${JSON.stringify(site)}); import tessera_moa_25 as p; print(p.density(4096), p.__file__)`
    expect(await run(folder, "-c", program)).toMatch(/^0\.\d+ .*site.tessera_moa_25.__init__\.py/)
  })
})
