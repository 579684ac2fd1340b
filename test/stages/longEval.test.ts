import { Candidates, EvaluationSet, Measurements, Model } from "@tessera/attention"
import { uniformPlan } from "@tessera/baseline-streaming-llm"
import { source } from "@tessera/core"
import { demoModelPath } from "@tessera/demo"
import { openTokenizer } from "@tessera/runtime"
import { given } from "@tessera/testing"
import { evaluate, lastNumber, longEval } from "@tessera/validator"
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { rowsOf, services } from "./harness.js"

const model = source(Model, demoModelPath)
const tokenizer = Effect.runPromise(openTokenizer(demoModelPath).pipe(Effect.provide(services)))
const records = (params: Parameters<typeof longEval>[1]) =>
  Effect.runPromise(rowsOf(EvaluationSet, longEval({ model }, params).evaluation))

describe("LongEval records", () => {
  it("fill each length and no more, and hold each question's number on the line that is asked for", async () => {
    const { encode } = await tokenizer
    const rows = await records({ lengths: [512, 1024], records: 2, questions: 4, maxNewTokens: 32 })
    expect(rows.length).toBe(16)
    for (const { context, question, answer, length } of rows) {
      const size = encode(context + question).length + 32
      expect(size).toBeLessThanOrEqual(length)
      expect(size).toBeGreaterThan(length - 60)
      const [, index] = /in line (\d+)\?/.exec(question) ?? []
      const lines = context.split("\n").filter((line) => line.startsWith(`line ${index}:`))
      expect(lines).toEqual([`line ${index}: REGISTER_CONTENT is <${answer}>`])
    }
  })

  it("share their context, ask at spread depths, are equal for equal seeds and different for others", async () => {
    const params = { lengths: [512], records: 2, questions: 4 } as const
    const rows = await records(params)
    expect(new Set(rows.map(({ context }) => context)).size).toBe(2)
    const depths = rows.slice(0, 4).map(({ depth }) => depth)
    expect(depths).toEqual([...depths].sort((a, b) => a - b))
    expect(depths.map((depth) => Math.floor(depth * 4))).toEqual([0, 1, 2, 3])
    expect(await records(params)).toEqual(rows)
    expect((await records({ ...params, seed: 1 }))[0]?.context).not.toBe(rows[0]?.context)
  })

  it("that cannot hold their questions are refused", async () => {
    await expect(records({ lengths: [256], questions: 20 })).rejects.toThrow(/ask for a longer length/)
  })
})

it("the last number of a text is its answer", () => {
  expect(lastNumber("In line 12 it is <34567>.")).toBe("34567")
  expect(lastNumber("I do not know.")).toBeUndefined()
})

it("answers are judged by the last number that the model writes", async () => {
  const plan = uniformPlan(
    { architecture: "LlamaForCausalLM", layers: 8, queryHeads: 8, kvHeads: 4, headDim: 64 },
    { density: 1, name: "all", geometry: { block: 16, sink: 16, minWindow: 1 }, length: "prompt+new" }
  )
  // In the demo model's own words: to the end token the whole sentence, of which only the number counts.
  const line = (name: string, content: string) => `line ${name}: REGISTER_CONTENT is <${content}>\n`
  const context = `Below is a record of lines to remember. Each line has a name and a <REGISTER_CONTENT>.\n${line("torrid-kid", "24169")}${line("quiet-lake", "53107")}`
  const row = (name: string, answer: string) => ({
    item: name,
    task: "longeval",
    length: 128,
    record: "r",
    context,
    question: `Tell me what is the <REGISTER_CONTENT> in line ${name}? I need the number.\n`,
    answer,
    depth: 0.5
  })
  const measured = (judge: "number" | "tokens") =>
    Effect.runPromise(
      rowsOf(
        Measurements,
        evaluate(
          {
            model,
            evaluation: given(EvaluationSet, [row("torrid-kid", "24169"), row("quiet-lake", "11111")]),
            candidates: given(Candidates, { candidates: [{ plan, expected: [] }] })
          },
          { judge, depths: false }
        ).measurements
      )
    )
  expect((await measured("number")).map(({ accuracy }) => accuracy)).toEqual([0.5, 0.5])
  // Its own words come before the number, so the bare number is not what greedy decoding gives.
  expect((await measured("tokens")).map(({ accuracy }) => accuracy)).toEqual([0, 0])
})
