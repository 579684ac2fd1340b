/** All of MoA through the command, on what users bring: broken corpora and models, and Ctrl-C in every stage. */
import { cpSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { demoModelPath } from "@tessera/demo"
import { describe, expect, it } from "vitest"
import { type Ended, folder, lines, type Options, tessera } from "./Tessera.js"

const pipeline = fileURLToPath(new URL("../../pipelines/moa.ts", import.meta.url))

const sentences = [
  "The harbour of Calaby was closed on Monday after a ship had lost its cargo.",
  "Nobody was hurt, said the mayor, and the ferries would sail again within a week.",
  "Fishermen asked who would pay for their nets."
]
const row = (i: number) => ({
  id: `news-${i}`,
  document: Array.from({ length: 40 }, (_, k) => `${i * 7 + k}: ${sentences[k % 3]}`).join(" ||||| "),
  summary: "A ship lost its cargo and closed a harbour."
})
const news = Array.from({ length: 8 }, (_, i) => row(i))
const text = (rows: ReadonlyArray<object>) => rows.map((row) => JSON.stringify(row)).join("\n")

const sizes = [
  "lengths=[128,256]",
  "unseen=384",
  "items=1",
  "heldOut=1",
  "maxNewTokens=12",
  "density=0.6",
  "block=16",
  "sink=16"
]
const asArguments = (params: ReadonlyArray<string>) => params.flatMap((param) => ["--param", param])

/** Runs the pipeline in a folder that has the corpus. */
const moa = (
  cwd: string,
  {
    corpus = "news.jsonl",
    model = demoModelPath,
    ...options
  }: Partial<Options> & {
    readonly corpus?: string
    readonly model?: string
  } = {},
  ...args: ReadonlyArray<string>
): Promise<Ended> =>
  tessera(
    [
      "run",
      pipeline,
      "--param",
      `corpus=${corpus}`,
      "--param",
      `model=${model}`,
      ...asArguments(sizes),
      ...args
    ],
    {
      cwd,
      ...options
    }
  )

const home = (): string => {
  const cwd = folder()
  writeFileSync(path.join(cwd, "news.jsonl"), text(news))
  return cwd
}

const modelCopy = (cwd: string): string => {
  cpSync(demoModelPath, path.join(cwd, "model"), { recursive: true })
  return path.join(cwd, "model")
}

const editConfig = (model: string, edit: object) => {
  const file = path.join(model, "config.json")
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), ...edit }))
}

it(
  "dense, StreamingLLM and MoA are compared at every length, by answers that chose no plan and by retrieval",
  { timeout: 300_000 },
  async () => {
    const cwd = home()
    const compare = fileURLToPath(new URL("../../pipelines/compare.ts", import.meta.url))
    const given = [...sizes.filter((param) => !/^(density|lengths)=/.test(param)), "lengths=[256]"]
    const more = [
      "corpus=news.jsonl",
      `model=${demoModelPath}`,
      "records=1",
      "questions=2",
      "densities=[0.6]"
    ]
    const args = asArguments([...given, ...more])
    const run = await tessera(["run", compare, ...args], { cwd })
    expect(run.code, run.stderr).toBe(0)
    for (const target of ["answers", "retrieval"]) {
      const shown = await tessera(["show", target, "--json", "--rows", "99"], { cwd })
      const { head: rows } = JSON.parse(shown.stdout) as {
        readonly head: ReadonlyArray<{
          readonly plan: string
          readonly length: number
          readonly depth: string
        }>
      }
      const found = rows.filter(({ depth }) => depth === "all").map(({ plan, length }) => `${plan} ${length}`)
      const plans = ["dense", "moa-60", "streaming-llm-60"]
      expect(found.sort()).toEqual(plans.flatMap((plan) => [`${plan} 256`, `${plan} 384`]))
    }
  }
)

/** What an interrupted or failed run must not leave. */
const left = (cwd: string): ReadonlyArray<string> =>
  readdirSync(path.join(cwd, ".tessera"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(cwd, path.join(entry.parentPath, entry.name)))
    .filter((file) => /tmp|scratch|lease/.test(file))

describe("MoA refuses, in one message and with a good store,", () => {
  it.each([
    [
      "a corpus without a column",
      (cwd: string) => {
        writeFileSync(path.join(cwd, "bad.jsonl"), text(news.map(({ document }) => ({ document, text: "" }))))
        return { corpus: "bad.jsonl" }
      },
      /multi-news-corpus.*no column summary; it has document, text/s,
      1
    ],
    [
      "a corpus that is not there",
      () => ({ corpus: "no.jsonl" }),
      /source corpusfiles: there is no file or folder .*no\.jsonl/,
      2
    ],
    [
      "a corpus with a broken line",
      (cwd: string) => {
        writeFileSync(path.join(cwd, "bad.jsonl"), `${text(news)}\n{"document": `)
        return { corpus: "bad.jsonl" }
      },
      /bad\.jsonl:9: is not valid JSON/,
      1
    ],
    [
      "truncated weights",
      (cwd: string) => {
        const model = modelCopy(cwd)
        truncateSync(path.join(model, "model.safetensors"), 1_000_000)
        return { model }
      },
      /model\.safetensors.*(truncated|1000000|1,000,000)/s,
      1
    ],
    [
      "an unknown architecture",
      (cwd: string) => {
        const model = modelCopy(cwd)
        editConfig(model, { architectures: ["MambaForCausalLM"], model_type: "mamba" })
        return { model }
      },
      /mamba/i,
      1
    ],
    [
      "a model folder that is not there",
      () => ({ model: "no-model" }),
      /source model: there is no file or folder .*no-model/,
      2
    ]
  ] as const)("%s", async (_, spoil, message, code) => {
    const cwd = home()
    const ended = await moa(cwd, spoil(cwd))
    expect(ended.stderr).toMatch(message)
    expect(ended.stderr).not.toMatch(/^\s+at /m)
    // A stage that failed is marked where it stands; what is wrong is said once, at the end.
    expect(ended.stderr.match(/^✗ .*: /gm)).toHaveLength(1)
    expect([ended.code, ended.stdout]).toEqual([code, ""])
    expect(left(cwd)).toEqual([])
  })
})

it("Ctrl-C in every stage of MoA ends with 130, and what was made in pieces equals what was made at once", async () => {
  const cwd = home()
  const interrupted = new Set<string>()
  // Each run is stopped in the first stage that none was stopped in before; the last one has none left.
  for (let code: number | null = 130; code === 130;) {
    let sent = false
    const ended = await moa(cwd, {
      onStderr: (text, kill) => {
        const started = [...text.matchAll(/^> (\S+) /gm)].flatMap(([, stage]) => stage ?? [])
        const fresh = started.find((stage) => !interrupted.has(stage))
        if (sent || fresh === undefined) return
        sent = true
        interrupted.add(fresh)
        kill("SIGINT")
      }
    })
    code = ended.code
    expect([sent, code, ended.stderr.includes("interrupted")]).toEqual([sent, sent ? 130 : 0, sent])
    expect(left(cwd)).toEqual([])
  }
  // The others may be over before the signal arrives.
  expect([...interrupted]).toEqual(
    expect.arrayContaining(["calibrate", "profile-item", "optimise", "held-out", "validate"])
  )

  const targets = async (of: string) => {
    const ended = await moa(of, {}, "--json")
    expect(ended.code).toBe(0)
    return lines(ended.stdout).at(-1)?.["targets"]
  }
  expect(await targets(cwd)).toEqual(await targets(home()))
}, 240_000)
