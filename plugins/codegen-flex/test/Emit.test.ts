import { readdir } from "node:fs/promises"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { NodeFileSystem } from "@effect/platform-node"
import { Plan, planWindows } from "@tessera/attention"
import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { odd, small } from "../../codegen-triton/test/plans.js"
import { emitFiles, emitFlex, EmitFlexParams } from "../src/index.js"
import { templateFiles, templateFolder } from "../src/Templates.js"

const params = Schema.decodeSync(EmitFlexParams)({})

const emit = (plan: Plan, options = params) =>
  Effect.runPromise(emitFiles(plan, options).pipe(Effect.provide(NodeFileSystem.layer)))

describe("emitFiles", () => {
  it("emits a package under the plan's name that does not collide with the one of kernels", async () => {
    expect(Object.keys(await emit(small))).toEqual([
      "LICENSE",
      "README.md",
      "pyproject.toml",
      "src/tessera_flex_moa_25/__init__.py",
      "src/tessera_flex_moa_25/attention.py",
      "src/tessera_flex_moa_25/constants.py",
      "src/tessera_flex_moa_25/masks.py",
      "src/tessera_flex_moa_25/plan.json",
      "src/tessera_flex_moa_25/py.typed",
      "tests/golden.json",
      "tests/test_masks.py"
    ])
  })

  it("leaves no trace of the templates' name", async () => {
    for (const [file, text] of Object.entries(await emit(odd))) {
      expect(`${file}\n${text}`).not.toMatch(/tessera[-_]masks/)
    }
  })

  it("emits equal bytes for equal plans, whatever the order of their fields and lengths", async () => {
    const { format, name, model, ...rest } = small
    const reversed: Plan = { ...rest, model, name, format }
    const one = await emit(small, { ...params, lengths: [512, 1024] })
    expect(await emit(reversed, { ...params, lengths: [1024, 512, 1024] })).toEqual(one)
  })

  it("ships the plan as it was given", async () => {
    const text = (await emit(small))["src/tessera_flex_moa_25/plan.json"] ?? ""
    expect(Schema.decodeUnknownSync(Plan)(JSON.parse(text))).toEqual(small)
  })

  it("folds the windows of each length class into readable constants", async () => {
    const text =
      (await emit(small, { ...params, lengths: [512] }))["src/tessera_flex_moa_25/constants.py"] ?? ""
    expect(text).toContain('PLAN = "MoA 25%"')
    expect(text).toContain("BLOCK = 16\nSINK = 16\n")
    expect(text).toContain("    512: (\n")
    for (const windows of planWindows(small, 512))
      expect(text).toContain(`            ${windows.join(", ")},\n`)
  })
})

describe("the template folder", () => {
  it("is part of the stage's code and holds what is emitted, and constants that stand in for a plan's", async () => {
    expect(emitFlex.spec.assets).toEqual([templateFolder])
    const found = await readdir(templateFolder, { recursive: true, withFileTypes: true })
    const files = found
      .filter((entry) => entry.isFile() && !/__pycache__|_cache/.test(entry.parentPath))
      .map((entry) => relative(fileURLToPath(templateFolder), join(entry.parentPath, entry.name)))
    expect(files.toSorted()).toEqual([...templateFiles, "src/tessera_masks/constants.py"].toSorted())
  })
})
