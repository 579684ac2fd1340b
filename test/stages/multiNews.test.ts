/** The calibration stage on real Multi-News items, through the command, as a user would run it. */
import { execFile } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, expect, it } from "vitest"

const root = new URL("../..", import.meta.url).pathname
const sample = join(root, "../shared/data/multi_news/sample.jsonl")
const folder = mkdtempSync(join(tmpdir(), "multi-news-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const pipelineText = `
import * as NodeContext from "@effect/platform-node/NodeContext"
import { Model } from "@tessera/attention"
import { calibrate, CorpusFiles, multiNewsCorpus } from "@tessera/calibration-multinews"
import { pipeline, provide, source } from "@tessera/core"
import { demoModelPath, demoPrompts } from "@tessera/demo"
import { profile } from "@tessera/profiler-gradient"
import { RuntimeCpu } from "@tessera/runtime-cpu"
import { Layer, Schema } from "effect"

const Params = Schema.Struct({ corpus: Schema.String, items: Schema.optionalWith(Schema.Int, { default: () => 2 }) })
const real = pipeline("real", Params, ({ corpus: path, items }) => {
  const model = source(Model, demoModelPath)
  const { corpus } = multiNewsCorpus({ files: source(CorpusFiles, path) }, {})
  const { calibration } = calibrate({ model, corpus }, { lengths: [512, 1024], items, maxNewTokens: 24, templates: demoPrompts })
  return { calibration, ...profile({ model, calibration }, { block: 16, sink: 32 }) }
})
export default provide(real, Layer.provideMerge(RuntimeCpu.layer(), NodeContext.layer))
`

interface Event {
  readonly _tag: string
  readonly targets?: Readonly<Record<string, { readonly type: string; readonly rows?: number }>>
}

const run = async (corpus: string) => {
  writeFileSync(join(folder, "real.ts"), pipelineText)
  const { stdout, stderr } = await promisify(execFile)(
    join(root, "node_modules/.bin/tessera"),
    [
      "run",
      join(folder, "real.ts"),
      "--store",
      join(folder, "store"),
      "--json",
      "--param",
      `corpus=${corpus}`
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
  "100 real items: too long ones are cut, an empty one is left out by name, and influence is measured (skipped where ../shared is absent)",
  async () => {
    const empty = JSON.stringify({ id: "nothing", document: " ||||| ", summary: "none" })
    writeFileSync(join(folder, "sample.jsonl"), `${readFileSync(sample, "utf8").trim()}\n${empty}\n`)
    const { targets, stderr } = await run(join(folder, "sample.jsonl"))
    expect(stderr).toContain("sample-nothing has an empty document")
    expect(targets["calibration"]).toMatchObject({ type: "CalibrationSet/1", rows: 4 })
    // 8 layers × 8 query heads × 2 lengths.
    expect(targets["influence"]).toMatchObject({ type: "Influence/1", rows: 128 })
  },
  240_000
)
