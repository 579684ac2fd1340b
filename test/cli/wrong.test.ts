import { mkdirSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import { type Ended, fixture, folder, lines, tessera } from "./Tessera.js"

/** Writes a pipeline outside the workspace and runs it. */
const runText = async (text: string, args: ReadonlyArray<string> = [], name = "p.ts"): Promise<Ended> => {
  const cwd = folder()
  writeFileSync(path.join(cwd, name), text)
  return tessera(["run", name, ...args], { cwd })
}

/** What is wrong with a failure: it should be one message that says these things, the right code, and no stack. */
const problems = (
  ended: Ended,
  code: number,
  ...says: ReadonlyArray<string | RegExp>
): ReadonlyArray<string> => [
  ...says.flatMap((said) =>
    (typeof said === "string" ? ended.stderr.includes(said) : said.test(ended.stderr))
      ? []
      : [`does not say ${String(said)}: ${ended.stderr}`]
  ),
  ...(/^\s+at /m.test(ended.stderr) ? [`shows a stack: ${ended.stderr}`] : []),
  ...(ended.stdout === "" ? [] : [`writes to stdout: ${ended.stdout}`]),
  ...(ended.code === code ? [] : [`ends with ${ended.code}: ${ended.stderr}`])
]

const stage = `
import { int32, pipeline, stage, table } from "@tessera/core"
import { Effect, Schema, Stream } from "effect"
const Items = table("Items/1", { item: int32 })
const make = stage("make", { version: "1", module: import.meta.url, inputs: {}, outputs: { items: Items },
  params: Schema.Struct({}), run: () => Effect.succeed({ items: Stream.make({ item: 1 }) }) })
`

describe("a pipeline file", () => {
  it("outside the workspace uses the command's own packages", async () => {
    const { code, stdout } = await runText(`${stage}\nexport default pipeline("own", make({}, {}))`)
    expect(stdout).toMatch(/items +Items\/1 +1/)
    expect(code).toBe(0)
  })

  it("that does not exist is named, with the nearest that does", async () => {
    const cwd = folder()
    writeFileSync(path.join(cwd, "quickstart.ts"), "")
    expect(
      problems(
        await tessera(["run", "quikstart.ts"], { cwd }),
        2,
        "quikstart.ts: no such file",
        "Did you mean quickstart.ts?"
      )
    ).toEqual([])
    mkdirSync(path.join(cwd, "dir"))
    expect(problems(await tessera(["run", "dir"], { cwd }), 2, "dir: is not a file")).toEqual([])
  })

  it("without a pipeline as its default export says how to export one", async () => {
    expect(
      problems(
        await runText("export const a = 1"),
        2,
        "p.ts: has no default export",
        "export default pipeline"
      )
    ).toEqual([])
    expect(
      problems(await runText("export default { name: 'a' }"), 2, "its default export is not a pipeline")
    ).toEqual([])
  })

  it("with a syntax error, a throw, or a missing import names the line", async () => {
    expect(problems(await runText("const a = 1\nconst b = = 2\n"), 2, /p\.ts:2:10: syntax error: /)).toEqual(
      []
    )
    expect(
      problems(
        await runText("type A = number\n\nconst f = (): A => { throw new RangeError('too far') }\nf()\n"),
        2,
        /p\.ts:3:\d+: RangeError: too far/
      )
    ).toEqual([])
    expect(
      problems(
        await runText(`import "no-such-package"`),
        2,
        /p\.ts: cannot find no-such-package/,
        "npm install no-such-package"
      )
    ).toEqual([])
    expect(
      problems(await runText(`import "./no-such-file.js"`), 2, /p\.ts: cannot find .*no-such-file/)
    ).toEqual([])
    expect(
      problems(
        await runText(`import { stge } from "@tessera/core"\nexport default stge`),
        2,
        /p\.ts:1: SyntaxError: .*does not provide an export named 'stge'/
      )
    ).toEqual([])
  })
})

describe("a parameter", () => {
  const cwd = () => ({ cwd: folder() })

  it("that is misspelt, of the wrong type, or not given as name=value", async () => {
    expect(
      problems(
        await tessera(["run", fixture("squares"), "--param", "cuont=5"], cwd()),
        2,
        "cuont",
        "did you mean count"
      )
    ).toEqual([])
    expect(
      problems(await tessera(["run", fixture("squares"), "--param", "count=many"], cwd()), 2, "count", "many")
    ).toEqual([])
    expect(
      problems(
        await tessera(["run", fixture("squares"), "--param", "count"], cwd()),
        2,
        "expected name=value"
      )
    ).toEqual([])
  })

  it("of an unknown node, of no parameter of it, and an unknown target", async () => {
    expect(
      problems(
        await tessera(["run", fixture("squares"), "--set", "sqare.scale=2"], cwd()),
        2,
        "sqare",
        "square"
      )
    ).toEqual([])
    expect(
      problems(
        await tessera(["run", fixture("squares"), "--set", "square.scal=2"], cwd()),
        2,
        "scal",
        "scale"
      )
    ).toEqual([])
    expect(
      problems(
        await tessera(["run", fixture("squares"), "--set", "square=2"], cwd()),
        2,
        "expected node.param=value"
      )
    ).toEqual([])
    expect(
      problems(await tessera(["run", fixture("squares"), "--target", "reprot"], cwd()), 2, "reprot", "report")
    ).toEqual([])
    expect(
      problems(await tessera(["explain", fixture("squares"), "reprot"], cwd()), 2, "reprot", "report")
    ).toEqual([])
  })

  it("or an option that does not exist is a usage error", async () => {
    expect(
      problems(
        await tessera(["run", "--parm", "a=1", fixture("squares")], cwd()),
        2,
        "unknown option --parm; did you mean --param?"
      )
    ).toEqual([])
    expect(problems(await tessera(["runn"], cwd()), 2, "Invalid subcommand")).toEqual([])
    expect(problems(await tessera(["run"], cwd()), 2, "Missing argument <pipeline>")).toEqual([])
  })
})

describe("a stage", () => {
  it("that fails is named with its reason, and what came before is kept", async () => {
    const cwd = folder()
    const failed = await tessera(["run", fixture("failing")], { cwd })
    expect(problems(failed, 1, "broken", "the corpus has no column summary")).toEqual([])
    const later = await tessera(["run", fixture("failing"), "--param", "how=no"], { cwd })
    expect(later.stdout).toMatch(/1 executed, 1 cached/)
    expect(later.code).toBe(0)
  })

  it("that throws shows where only when asked", async () => {
    const cwd = folder()
    expect(
      problems(
        await tessera(["run", fixture("failing"), "--param", "how=throw"], { cwd }),
        1,
        "undefined is not a corpus"
      )
    ).toEqual([])
    const verbose = await tessera(["run", fixture("failing"), "--param", "how=throw", "--verbose"], { cwd })
    expect(verbose.stderr).toMatch(/at .*failing\.ts:\d+/)
  })

  it("whose service nobody provides, or whose layer cannot be built", async () => {
    expect(
      problems(
        await tessera(["run", fixture("services")], { cwd: folder() }),
        2,
        "needs the service fixtures/Clock"
      )
    ).toEqual([])
    const env = { CLOCK: "broken" }
    expect(
      problems(
        await tessera(["run", fixture("services")], { cwd: folder(), env }),
        1,
        "no clock is plugged in"
      )
    ).toEqual([])
  })
})

describe("a store", () => {
  it("that cannot be written ends with code 3 and a hint", async () => {
    const cwd = folder()
    writeFileSync(path.join(cwd, "file"), "")
    expect(
      problems(
        await tessera(["run", fixture("squares"), "--store", "file/store"], { cwd }),
        3,
        "store: ",
        "file/store"
      )
    ).toEqual([])
  })
})

describe("--json", () => {
  it("gives a failure as one JSON line on stdout", async () => {
    const cwd = folder()
    const failures = [
      [await tessera(["run", "no.ts", "--json"], { cwd }), 2, "CliError/PipelineFile"],
      [
        await tessera(["plan", fixture("squares"), "--param", "cuont=1", "--json"], { cwd }),
        2,
        "GraphError/UnknownParameter"
      ],
      [await tessera(["run", fixture("failing"), "--json"], { cwd }), 1, "StageFailed"],
      [await tessera(["show", "--json"], { cwd }), 2, "Usage/MissingValue"]
    ] as const
    for (const [ended, exit, reason] of failures) {
      expect(ended.code).toBe(exit)
      expect(lines(ended.stdout).at(-1)).toMatchObject({ _tag: "Failure", exit, reason })
      expect(ended.stderr).toBe("")
    }
  })
})
