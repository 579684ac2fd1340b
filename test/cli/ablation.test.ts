/** The ablation through the command, small. */
import { fileURLToPath } from "node:url"
import { expect, it } from "vitest"
import { folder, tessera } from "./Tessera.js"

const pipeline = fileURLToPath(new URL("../../pipelines/ablation.ts", import.meta.url))

const params = {
  density: "0.5",
  items: "1",
  lengths: "[384,512]",
  unseen: "640",
  records: "1",
  questions: "2"
}

interface Measured {
  readonly plan: string
  readonly length: number
  readonly density: number
}
interface Candidate {
  readonly plan: { readonly name: string; readonly rules: ReadonlyArray<ReadonlyArray<object>> }
  readonly expected: ReadonlyArray<{ readonly length: number; readonly loss: number }>
}

it("all plans are within the same KV bytes, measured at each length; rules are as alike as their names say; each step expects less loss", async () => {
  const cwd = folder()
  const given = Object.entries(params).flatMap(([name, value]) => ["--param", `${name}=${value}`])
  const run = await tessera(["run", pipeline, ...given], { cwd })
  expect(run.code, run.stderr).toBe(0)
  const shown = async (target: string, ...more: ReadonlyArray<string>): Promise<unknown> =>
    JSON.parse((await tessera(["show", target, "--json", ...more], { cwd })).stdout)

  const { head } = (await shown("measurements", "--rows", "999")) as {
    readonly head: ReadonlyArray<Measured>
  }
  const names = [...new Set(head.map(({ plan }) => plan))].filter((name) => name !== "dense")
  expect(names).toHaveLength(10)
  for (const name of names) {
    const own = head.filter(({ plan }) => plan === name)
    expect(new Set(own.map(({ length }) => length))).toEqual(new Set([384, 512, 640]))
    for (const { density, length } of own)
      if (length === 640 || !name.startsWith("duo-attention-at")) expect(density).toBeLessThanOrEqual(0.5)
  }

  const { value } = (await shown("candidates")) as {
    readonly value: { readonly candidates: ReadonlyArray<Candidate> }
  }
  const found = (start: string) => {
    const one = value.candidates.find(({ plan }) => plan.name.startsWith(`${start}-50`))
    if (one === undefined) return expect.fail(`no candidate ${start}`)
    const kinds = one.plan.rules.map((layer) => new Set(layer.map((rule) => JSON.stringify(rule))))
    return {
      perLayer: Math.max(...kinds.map(({ size }) => size)),
      distinct: new Set(kinds.flatMap((kind) => [...kind])).size,
      loss: one.expected.reduce((sum, { loss }) => sum + loss, 0)
    }
  }
  const steps = ["uniform", "layers", "heads", "elastic"].map(found)
  expect(steps[0]?.distinct).toBe(1)
  expect(steps[1]?.perLayer).toBe(1)
  expect(steps[1]?.distinct).toBeGreaterThan(1)
  expect(steps[2]?.perLayer).toBeGreaterThan(1)
  steps.slice(1).forEach(({ loss }, i) => expect(loss).toBeLessThanOrEqual((steps[i]?.loss ?? 0) * 1.01))
  expect(steps[3]?.loss).toBeLessThan(steps[0]?.loss ?? 0)
}, 600_000)
