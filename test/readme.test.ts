import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, expect, it } from "vitest"

const root = new URL("..", import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), "readme-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const program = /<!-- program: (\S+) -->\n```ts\n([\s\S]*?)```/.exec(
  readFileSync(join(root, "README.md"), "utf8")
)

interface Finished {
  readonly _tag: string
  readonly targets?: Readonly<Record<string, { readonly type: string }>>
}

const run = async (...args: ReadonlyArray<string>): Promise<ReadonlyArray<Finished>> => {
  const { stdout } = await promisify(execFile)(
    join(root, "node_modules/.bin/tessera"),
    ["run", join(folder, "pipeline.ts"), "--store", join(folder, "store"), "--json", ...args],
    { cwd: root, maxBuffer: 1 << 26 }
  )
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Finished)
}

const tags = (events: ReadonlyArray<Finished>, tag: string) =>
  events.filter(({ _tag }) => _tag === tag).length

it("the README's program runs in a folder of its own, is cached, and recomputes only what a change reaches", async () => {
  const [, name, text = ""] = program ?? []
  expect(name).toBe("pipeline.ts")
  // What it says of itself: its body is 15 lines.
  expect(
    text.split("\n").filter((line) => line !== "" && !line.startsWith("import ")).length
  ).toBeLessThanOrEqual(15)
  writeFileSync(join(folder, "pipeline.ts"), text)

  const first = await run()
  const targets = first.at(-1)?.targets ?? {}
  expect(first.at(-1)?._tag).toBe("RunFinished")
  expect(Object.values(targets).map(({ type }) => type)).toEqual(expect.arrayContaining(["KernelPackage/1"]))

  const second = await run()
  expect(tags(second, "TaskStarted")).toBe(0)
  expect(second.at(-1)?.targets).toEqual(targets)

  const changed = await run("--param", "density=0.4")
  const executed = changed.flatMap((event) =>
    "node" in event && event._tag === "TaskCommitted" ? [event.node] : []
  )
  expect(executed).toEqual(["optimise", "codegen-triton"])
}, 240_000)
