/** MoA on real Multi-News items, through the command, as a user would run it. */
import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { demoModelPath, demoPrompts } from "@tessera/demo"
import { afterAll, expect, it } from "vitest"

const root = new URL("../..", import.meta.url).pathname
const sample = join(root, "../shared/data/multi_news/sample.jsonl")
const folder = mkdtempSync(join(tmpdir(), "multi-news-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Event {
  readonly _tag: string
  readonly targets?: Readonly<Record<string, { readonly type: string; readonly rows?: number }>>
}

const run = async (params: Readonly<Record<string, string>>) => {
  const { stdout, stderr } = await promisify(execFile)(
    join(root, "node_modules/.bin/tessera"),
    [
      "run",
      join(root, "pipelines/moa.ts"),
      "--store",
      join(folder, "store"),
      "--json",
      ...Object.entries(params).flatMap(([name, value]) => ["--param", `${name}=${value}`])
    ],
    { cwd: root, maxBuffer: 1 << 26 }
  )
  const events = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Event)
  return { targets: events.at(-1)?.targets ?? {}, stderr }
}

it.skipIf(!existsSync(sample))(
  "100 real items: too long ones are cut, an empty one is left out by name, and they end as a kernel package (skipped where ../shared is absent)",
  async () => {
    const empty = JSON.stringify({ id: "nothing", document: " ||||| ", summary: "none" })
    writeFileSync(join(folder, "sample.jsonl"), `${readFileSync(sample, "utf8").trim()}\n${empty}\n`)
    const { targets, stderr } = await run({
      model: demoModelPath,
      corpus: join(folder, "sample.jsonl"),
      template: JSON.stringify(demoPrompts.multi_news),
      lengths: "[512,1024]",
      unseen: "2048",
      items: "2",
      heldOut: "2",
      maxNewTokens: "24",
      block: "16",
      sink: "32"
    })
    expect(stderr).toContain("sample-nothing has an empty document")
    expect(targets["plan"]).toMatchObject({ type: "Plan/1" })
    expect(targets["kernels"]).toMatchObject({ type: "KernelPackage/1" })
    // Dense, StreamingLLM and at least one candidate.
    expect(targets["measurements"]?.rows).toBeGreaterThanOrEqual(3)
  },
  240_000
)
