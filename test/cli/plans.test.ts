/** `tessera plan-info` and `tessera plan-convert` on every form of a plan. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { demoModelPath } from "@tessera/demo"
import { describe, expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const plans = fixture("plans")
const shape = ["--shape", "layers=2,query-heads=4,kv-heads=2,head-dim=8"]

/** Per query head; the heads of the first KV head of layer 1 differ. */
const official = {
  alphas: [
    [0, 0, 1024, 1024],
    [0, 128, 0, 0]
  ],
  betas: [
    [0.5, 0.5, 0, 0],
    [0.25, 0, 1, 1]
  ]
}

/** A folder with a plan in every form. */
const home = (): string => {
  const cwd = folder()
  writeFileSync(path.join(cwd, "moa.json"), JSON.stringify(official))
  writeFileSync(
    path.join(cwd, "moa.csv"),
    "plan_id,layer_id,head_id,alpha_value,beta_value\n" +
      [0, 1]
        .flatMap((id) =>
          [0, 1].flatMap((layer) => [0, 1].map((head) => `${id},${layer},${head},${64 * (id + 1)},0\n`))
        )
        .join("")
  )
  mkdirSync(path.join(cwd, "duo"))
  writeFileSync(path.join(cwd, "duo/full_attention_heads.tsv"), "1.0\t0.25\n0.75\t0.0\n")
  writeFileSync(path.join(cwd, "duo/config.json"), `{"sink_size":64,"recent_size":256}`)
  return cwd
}

const info = async (cwd: string, ...args: ReadonlyArray<string>) => {
  const { code, stderr, stdout } = await tessera(["plan-info", ...args, "--json"], { cwd })
  expect(stderr).toBe("")
  expect(code).toBe(0)
  return lines(stdout)[0] ?? {}
}

const refusal = async (cwd: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const { code, stderr, stdout } = await tessera(args, { cwd })
  expect(stdout).toBe("")
  expect(stderr).not.toMatch(/^\s+at /m)
  expect(code).toBe(2)
  return stderr
}

describe("plan-info", { timeout: 300_000 }, () => {
  it("tells densities, bytes and prefill of an official file, for the KV cache and for one per query head", async () => {
    const cwd = home()
    const told = await info(cwd, "moa.json", ...shape, "--lengths", "4k")
    expect(told).toMatchObject({
      plan: { name: "moa", grouping: "query-head", geometry: { block: 64, sink: 64 } },
      bytesPerElement: 2,
      lengths: [
        {
          length: 4096,
          // 0.5, 0.25; then 0.25 beside 128 tokens, 1.
          density: { inside: 0.5 },
          headDensity: { inside: (0.5 + 0.5 + 0.25 + 0.25 + 0.25 + 128 / 4096 + 1 + 1) / 8 },
          kvBytes: 4 * 0.5 * 4096 * 2 * 8 * 2,
          denseKvBytes: 4 * 4096 * 2 * 8 * 2
        }
      ],
      layers: [
        {
          layer: 0,
          rules: [
            { rule: "0.5·N", heads: 2 },
            { rule: "1024", heads: 2 }
          ]
        },
        { layer: 1 }
      ]
    })
    const text = await tessera(["plan-info", "moa.json", ...shape, "--lengths", "4k"], { cwd })
    expect(text.stdout).toMatch(/4,096 +50\.0% +51\.2% +47\.3%/)
    expect(text.stdout).toMatch(/a KV head per query head/)
    expect(text.stdout).toMatch(/0 +1,024 to 2,048 +37\.5% +0\.5·N ×2, 1024 ×2/)
    expect(text.code).toBe(0)
  })

  it("folds query heads to KV heads where asked, and says so", async () => {
    const { lengths, plan } = await info(home(), "moa.json", ...shape, "--fold", "--lengths", "4096,8192")
    expect(plan).toMatchObject({
      grouping: "kv-head",
      provenance: {
        folded: expect.stringContaining("N = 4096, 8192"),
        "folded groups": expect.stringContaining("1 of 4")
      }
    })
    expect(lengths).toMatchObject([{ density: { inside: 0.5 } }, { length: 8192 }])
  })

  it("reads CSV and DuoAttention folders, and takes the shape from a model folder", async () => {
    const cwd = home()
    expect(await info(cwd, "moa.csv", ...shape, "--plan", "1")).toMatchObject({
      plan: { grouping: "kv-head", provenance: { source: "CSV, plan_id 1" } },
      layers: [{ rules: [{ rule: "128", heads: 2 }] }, {}]
    })
    expect(await info(cwd, "duo", ...shape, "--sparsity", "0.75")).toMatchObject({
      plan: { provenance: { "full heads": "1 of 4" } },
      layers: [{ rules: [{ rule: "N" }, { rule: "320" }] }, { rules: [{ rule: "320", heads: 2 }] }]
    })
    const heads = Array.from({ length: 8 }, () => Array.from({ length: 8 }, () => 0))
    writeFileSync(path.join(cwd, "demo.json"), JSON.stringify({ alphas: heads, betas: heads }))
    const { plan } = await info(cwd, "demo.json", "--model", demoModelPath)
    expect(plan).toMatchObject({
      model: { layers: 8, kvHeads: 4, identity: { name: path.basename(demoModelPath) } }
    })
  })

  it("reads plans and candidates of a run by name, with what was expected, and draws them", async () => {
    const cwd = folder()
    expect((await tessera(["run", plans], { cwd })).code).toBe(0)
    expect(await info(cwd, "best", "--lengths", "512")).toMatchObject({ plan: { name: "first" } })
    const drawn = await info(cwd, "optimise.candidates", "--plan", "second", "--svg", "spans.svg")
    expect(drawn).toMatchObject({
      plan: { name: "second" },
      lengths: [{ length: 512, expectedLoss: 0.0625 }],
      svg: "spans.svg"
    })
    const svg = readFileSync(path.join(cwd, "spans.svg"), "utf8")
    expect(svg).toContain("Spans of second")
    expect(svg).toContain("N = 512 tokens")
    await info(cwd, "optimise.candidates", "--plan", "second", "--svg", "again.svg")
    expect(readFileSync(path.join(cwd, "again.svg"), "utf8")).toBe(svg)

    expect(await refusal(cwd, "plan-info", "candidates")).toMatch(
      /candidates: holds several plans\n +Choose one with --plan: first, second\./
    )
    expect(await refusal(cwd, "plan-info", "note")).toMatch(/note: is no plan document/)
    expect(await refusal(cwd, "plan-info", "best", "--block", "32")).toMatch(
      /--block: is for files that do not say it/
    )
  })

  it("ends with 2 and one message that says what is wrong with a file, where, and what to do", async () => {
    const cwd = home()
    writeFileSync(
      path.join(cwd, "negative.json"),
      JSON.stringify({
        ...official,
        betas: [
          [0, 0, 0, 0],
          [0, -1, 0, 0]
        ]
      })
    )
    const of = (...args: ReadonlyArray<string>) => refusal(cwd, "plan-info", ...args)
    expect(await of("absent.json")).toMatch(/absent\.json: there is no such file, and no such artifact/)
    expect(await of("negative.json", ...shape)).toMatch(/negative\.json: .*betas\[1\]\[1\] is -1/)
    expect(await of("moa.json", ...shape, "--svg", "absent/x.svg")).toMatch(
      /absent\/x\.svg: cannot be written/
    )
  })
})

describe("plan-convert", { timeout: 300_000 }, () => {
  it("writes every form, each read back as the same plan", async () => {
    const cwd = home()
    const convert = async (file: string, to: string, output: string, ...more: ReadonlyArray<string>) => {
      const { code, stderr } = await tessera(
        ["plan-convert", file, "--to", to, "--output", output, ...more],
        { cwd }
      )
      expect(stderr).toBe("")
      expect(code).toBe(0)
    }
    await convert("moa.json", "plan", "plan.json", ...shape)
    await convert("plan.json", "official", "again.json")
    expect(JSON.parse(readFileSync(path.join(cwd, "again.json"), "utf8"))).toEqual(official)
    await convert("plan.json", "csv", "plan.csv")
    await convert("plan.csv", "official", "csv.json", ...shape)
    expect(JSON.parse(readFileSync(path.join(cwd, "csv.json"), "utf8"))).toEqual(official)
    await convert("duo", "duo", "duo2", ...shape)
    expect(readdirSync(path.join(cwd, "duo2")).sort()).toEqual(["config.json", "full_attention_heads.tsv"])
    expect(readFileSync(path.join(cwd, "duo2/full_attention_heads.tsv"), "utf8")).toBe("1.0\t0.0\n1.0\t0.0\n")
    await convert("plan.json", "flex", "masks.py", "--lengths", "1024")
    expect(readFileSync(path.join(cwd, "masks.py"), "utf8")).toMatch(/LENGTH = 1024\n[^]*def mask_mod\(/)
  })

  it("writes to stdout where no output is named", async () => {
    const cwd = home()
    const { stdout } = await tessera(["plan-convert", "moa.json", "--to", "official", ...shape], { cwd })
    expect(JSON.parse(stdout)).toEqual(official)
    const json = await tessera(
      ["plan-convert", "moa.csv", "--plan", "0", "--to", "csv", "--json", ...shape],
      { cwd }
    )
    expect(lines(json.stdout)[0]).toMatchObject({
      plan: "moa",
      to: "csv",
      text: expect.stringMatching(/^,plan_id/)
    })
  })

  it("refuses what the form cannot say, saying where, and writes nothing", async () => {
    const cwd = home()
    const of = (...args: ReadonlyArray<string>) => refusal(cwd, "plan-convert", ...args, ...shape)
    expect(await of("moa.json", "--to", "duo", "-o", "out")).toMatch(
      /no DuoAttention form: layer 0, query head 0 keeps a window that grows/
    )
    expect(await of("moa.json", "--to", "flex", "-o", "out")).toMatch(
      /masks are of one length\n.*--lengths 8192/
    )
    expect(await of("moa.json", "--to", "flex", "--lengths", "1k,2k")).toMatch(/of one length/)
    expect(await of("duo", "--to", "duo")).toMatch(/--to duo: writes a folder\n.*--output/)
    expect(await of("moa.json", "--to", "csv", "-o", "absent/out.csv")).toMatch(
      /absent\/out\.csv: cannot be written/
    )
    expect(existsSync(path.join(cwd, "out"))).toBe(false)
  })
})
