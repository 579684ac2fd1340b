import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Either } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { torchPython } from "../../../../test/python/Torch.js"
import { dense, keeps, type Plan, planWindows, toFlex } from "../../src/index.js"

const python = await torchPython("FlexAttention's masks are not run")

const plan: Plan = {
  format: 1,
  name: 'quoted "name"\\',
  model: { architecture: "LlamaForCausalLM", layers: 2, queryHeads: 4, kvHeads: 2, headDim: 8 },
  geometry: { block: 8, sink: 16, minWindow: 1 },
  grouping: "query-head",
  rules: [
    [dense, { alpha: 0, beta: 0.5 }, { alpha: 24, beta: 0 }, { alpha: 0, beta: 4, growth: "sqrt" }],
    [{ alpha: 0, beta: 0 }, { alpha: 0, beta: 1, cap: 40 }, dense, { alpha: 30, beta: 0.1 }]
  ],
  length: "prompt",
  provenance: {}
}
const wide: Plan = {
  ...plan,
  model: { ...plan.model, layers: 1, queryHeads: 60, kvHeads: 60 },
  grouping: "kv-head",
  rules: [Array.from({ length: 60 }, (_, head) => ({ alpha: 8 * (head % 9), beta: 0 }))]
}
const single: Plan = {
  ...plan,
  model: { ...plan.model, layers: 1, queryHeads: 1, kvHeads: 1 },
  rules: [[{ alpha: 40, beta: 0 }]]
}

it("FlexAttention masks are of one length", () => {
  expect(Either.getOrThrow(Either.flip(toFlex(plan, 0)))).toMatchObject({
    reason: "NotExpressible",
    message: expect.stringContaining("give a whole number of tokens")
  })
})

describe.skipIf(python === undefined)("an emitted FlexAttention module", { timeout: 300_000 }, () => {
  const folder = mkdtempSync(join(tmpdir(), "tessera-flex-"))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const run = async (...args: ReadonlyArray<string>): Promise<string> =>
    (
      await promisify(execFile)(python ?? "", args, {
        cwd: folder,
        maxBuffer: 1 << 26,
        env: { ...process.env, PYTHONDONTWRITEBYTECODE: "1" }
      })
    ).stdout

  const cases = [
    [plan, 100],
    [plan, 5],
    [wide, 64],
    [single, 48]
  ] as const

  it("keeps what the definition keeps", async () => {
    for (const [i, [plan, length]] of cases.entries())
      writeFileSync(join(folder, `masks${i}.py`), Either.getOrThrow(toFlex(plan, length)))
    const printed = await run(
      "-c",
      `import importlib, json, torch
from torch.nn.attention.flex_attention import create_mask
def said(m):
    layers, heads, n = range(m.LAYERS), m.QUERY_HEADS, m.LENGTH
    masks = [create_mask(m.mask_mod(i, "cpu"), 1, heads, n, n, "cpu")[0].int().tolist() for i in layers]
    heads = [m.block_mask(i, torch.device("cpu")).to_dense()[0].shape[0] for i in layers]
    return {"plan": m.PLAN, "heads": heads, "masks": masks}
print(json.dumps([said(importlib.import_module(f"masks{i}")) for i in range(${cases.length})]))`
    )
    expect(JSON.parse(printed)).toEqual(
      cases.map(([plan, length]) => {
        const at = Array.from({ length }, (_, i) => i)
        return {
          plan: plan.name,
          heads: plan.rules.map(() => plan.model.queryHeads),
          masks: planWindows(plan, length).map((layer) =>
            layer.map((window) => at.map((q) => at.map((k) => (keeps(plan.geometry, window, q, k) ? 1 : 0))))
          )
        }
      })
    )
  })

  it("is typed and clean", async () => {
    writeFileSync(join(folder, "masks.py"), Either.getOrThrow(toFlex(wide, 64)))
    expect(await run("-m", "mypy", "--strict", "--no-incremental", "masks.py")).toContain("no issues found")
    expect(await run("-m", "ruff", "check", "--no-cache", "masks.py")).toContain("All checks passed")
  })
})
