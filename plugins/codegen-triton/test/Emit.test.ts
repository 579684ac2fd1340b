import { readdir } from "node:fs/promises"
import { join, relative } from "node:path"
import { fileURLToPath } from "node:url"
import { FileSystem } from "@effect/platform"
import { NodeFileSystem } from "@effect/platform-node"
import { Plan } from "@tessera/attention"
import { Effect, Layer, Schema } from "effect"
import { describe, expect, it } from "vitest"
import { emitFiles, emitTriton, EmitTritonParams } from "../src/index.js"
import { templateFiles, templateFolder } from "../src/Templates.js"
import { odd, small } from "./plans.js"

const params = Schema.decodeSync(EmitTritonParams)({})

const emit = (plan: Plan, options = params) =>
  Effect.runPromise(emitFiles(plan, options).pipe(Effect.provide(NodeFileSystem.layer)))

/** The real file system, with reads changed. */
const reading = (change: (fs: FileSystem.FileSystem) => FileSystem.FileSystem["readFileString"]) =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) => ({ ...fs, readFileString: change(fs) }))
  ).pipe(Layer.provide(NodeFileSystem.layer))

describe("emitFiles", () => {
  it("emits a package under the plan's name", async () => {
    expect(Object.keys(await emit(small))).toEqual([
      "LICENSE",
      "README.md",
      "bench/decode.py",
      "bench/errors.py",
      "bench/flex_peer.py",
      "bench/generate.py",
      "bench/prefill.py",
      "bench/timing.py",
      "pyproject.toml",
      "src/tessera_moa_25/__init__.py",
      "src/tessera_moa_25/append.py",
      "src/tessera_moa_25/attend.py",
      "src/tessera_moa_25/cache.py",
      "src/tessera_moa_25/checks.py",
      "src/tessera_moa_25/constants.py",
      "src/tessera_moa_25/decode.py",
      "src/tessera_moa_25/hopper_kernel.py",
      "src/tessera_moa_25/hopper_walk.py",
      "src/tessera_moa_25/huggingface.py",
      "src/tessera_moa_25/layout.py",
      "src/tessera_moa_25/past.py",
      "src/tessera_moa_25/plan.json",
      "src/tessera_moa_25/plan_cache.py",
      "src/tessera_moa_25/prefill.py",
      "src/tessera_moa_25/prefill_hopper.py",
      "src/tessera_moa_25/py.typed",
      "src/tessera_moa_25/reference.py",
      "src/tessera_moa_25/rule.py",
      "src/tessera_moa_25/spans.py",
      "src/tessera_moa_25/splits.py",
      "src/tessera_moa_25/tables.py",
      "src/tessera_moa_25/tiles.py",
      "tests/conftest.py",
      "tests/golden.json",
      "tests/helpers.py",
      "tests/test_cache.py",
      "tests/test_decode.py",
      "tests/test_hopper.py",
      "tests/test_huggingface.py",
      "tests/test_prefill.py",
      "tests/test_spans.py"
    ])
  })

  it("leaves no trace of the templates' name", async () => {
    for (const [file, text] of Object.entries(await emit(odd))) {
      expect(`${file}\n${text}`).not.toMatch(/tessera[-_]kernels/)
    }
  })

  it("emits equal bytes for equal plans, whatever the order of their fields", async () => {
    const { format, name, model, ...rest } = small
    const reversed: Plan = { ...rest, model, name, format }
    expect(Object.keys(reversed)).not.toEqual(Object.keys(small))
    expect(await emit(reversed)).toEqual(await emit(small))
  })

  it("ships the plan as it was given", async () => {
    const text = (await emit(small))["src/tessera_moa_25/plan.json"] ?? ""
    expect(Schema.decodeUnknownSync(Plan)(JSON.parse(text))).toEqual(small)
  })

  it("changes the constants alone in the sources when a rule changes", async () => {
    const [first, ...rest] = small.rules
    const other = { ...small, rules: [[{ alpha: 0, beta: 0.75 }, ...(first ?? []).slice(1)], ...rest] }
    const [a, b] = [await emit(small), await emit(other)]
    expect(Object.keys(a).filter((file) => a[file] !== b[file])).toEqual([
      "README.md",
      "src/tessera_moa_25/constants.py",
      "src/tessera_moa_25/plan.json",
      "tests/golden.json"
    ])
  })

  it("folds the plan into readable constants", async () => {
    const text = (await emit(small))["src/tessera_moa_25/constants.py"]
    expect(text).toContain('PLAN = "MoA 25%"')
    expect(text).toContain("BLOCK = 16\nSINK = 16\nMIN_WINDOW = 2\n")
    expect(text).toContain(
      "    Rule(0.0, 1.0),\n    Rule(0.0, 0.25),\n    Rule(64.0, 0.0),\n    Rule(-32.0, 0.5),\n    Rule(32.0, 0.125),\n"
    )
    expect(text).toContain('    Rule(-16.0, 8.0, "sqrt"),\n    Rule(0.0, 6.0, "log2", 100.0),\n')
    expect(text).toContain("        0, 1, 2, 3,\n")
    expect(text).toContain("        4, 4, 5, 6,\n")
  })

  it.each([
    [{ ...small.model, kvHeads: 3 }, "4 query heads cannot share 3 KV heads evenly"],
    [{ ...small.model, headDim: 512 }, "head dimension 512: the kernels go up to 256"]
  ])("refuses a model that the kernels cannot take", async (model, detail) => {
    const error = await Effect.runPromise(
      Effect.flip(emitFiles({ ...small, model }, params)).pipe(Effect.provide(NodeFileSystem.layer))
    )
    expect(error).toMatchObject({ _tag: "CodegenError", reason: "UnsupportedPlan", detail })
  })

  it("says which template cannot be read", async () => {
    const broken = reading(
      (fs) => (path, encoding) =>
        fs.readFileString(path.endsWith("kernels/decode.py") ? `${path}.gone` : path, encoding)
    )
    const error = await Effect.runPromise(Effect.flip(emitFiles(small, params)).pipe(Effect.provide(broken)))
    expect(error).toMatchObject({
      reason: "Template",
      where: "python/template/src/tessera_kernels/decode.py"
    })
  })
})

describe("the template folder", () => {
  it("is part of the stage's code and holds what is emitted, and constants that stand in for a plan's", async () => {
    expect(emitTriton.spec.assets).toEqual([templateFolder])
    const found = await readdir(templateFolder, { recursive: true, withFileTypes: true })
    const files = found
      .filter((entry) => entry.isFile() && !/__pycache__|_cache/.test(entry.parentPath))
      .map((entry) => relative(fileURLToPath(templateFolder), join(entry.parentPath, entry.name)))
    expect(files.toSorted()).toEqual([...templateFiles, "src/tessera_kernels/constants.py"].toSorted())
  })
})
