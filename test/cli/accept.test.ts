import { writeFileSync } from "node:fs"
import * as path from "node:path"
import { expect, it } from "vitest"
import { folder, tessera } from "./Tessera.js"

const pipeline = `
import { int32, pipeline, stage, table } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
import { twice } from "./helper.js"
const Items = table("Items/1", { item: int32 })
const Params = Schema.Struct({ by: Schema.optionalWith(Schema.Int, { default: () => 3 }) })
const make = stage("make", { version: "1", module: import.meta.url, inputs: {}, outputs: { items: Items },
  params: Params, run: (_, { by }) => Effect.succeed({ items: Stream.make({ item: twice(by) }) }) })
export default pipeline("edited", Params, ({ by }) => make({}, { by }))
`

it("tessera accept keeps results in spite of an edit of code, says who vouched, and refuses anything else", async () => {
  const cwd = folder()
  const helper = (body: string) =>
    writeFileSync(path.join(cwd, "helper.ts"), `export const twice = (n: number): number => ${body}\n`)
  writeFileSync(path.join(cwd, "p.ts"), pipeline)
  const run = async (...args: ReadonlyArray<string>) =>
    /\d+ executed, \d+ cached/.exec((await tessera(["run", "p.ts", ...args], { cwd })).stdout)?.[0]
  const accept = (...args: ReadonlyArray<string>) =>
    tessera(["accept", "p.ts", "make", "--by", "Ada", "--why", "a sum is a sum", ...args], { cwd })

  helper("n * 2")
  expect((await accept()).stderr).toContain("make: it has no earlier result to accept")
  expect(await run()).toBe("1 executed, 0 cached")
  expect((await accept()).stdout).toContain("there is nothing to accept")

  helper("n + n")
  const parameter = await accept("--param", "by=4")
  expect([parameter.code, parameter.stderr]).toEqual([
    1,
    expect.stringMatching(/make: it differs in more than its code: .*param by 3 → 4/)
  ])
  expect((await tessera(["plan", "p.ts"], { cwd })).stdout).toMatch(/make +run +code changed: helper\.ts/)
  const accepted = await accept()
  expect(accepted.stdout).toContain("make: 1 earlier results accepted by Ada")
  expect(accepted.stdout).toContain("code changed: helper.ts")
  expect(await run()).toBe("0 executed, 1 cached")
  const explained = await tessera(["explain", "p.ts", "make"], { cwd })
  expect(explained.stdout).toMatch(/make cached: accepted by Ada on \d{4}-\d\d-\d\d: a sum is a sum/)

  helper("n + n + 1")
  expect(await run()).toBe("1 executed, 0 cached")
  const unknown = await tessera(["accept", "p.ts", "mkae", "--why", "x"], { cwd })
  expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("did you mean make")])
})
