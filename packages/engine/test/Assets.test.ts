import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { pathToFileURL } from "node:url"
import { document, pipeline, stage } from "@tessera/core"
import { Effect, Schema } from "effect"
import { describe, expect, it } from "vitest"
import * as Assets from "../src/Assets.js"
import { explain, run } from "../src/index.js"
import { failure, folder, inStore } from "./harness.js"
import { module } from "./stages.js"

const write = (root: string, files: Readonly<Record<string, string>>): URL => {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true })
    writeFileSync(join(root, file), text)
  }
  return pathToFileURL(`${root}/`)
}
const digest = async (url: URL) => (await Effect.runPromise(Assets.digests([url])))[0]?.digest

const WORKER = { "worker.py": "print(1)\n", "lib/ops.py": "x = 1\n" }

describe("the digest of a declared folder", () => {
  it("is that of names and contents, wherever the folder lies", async () => {
    const base = await digest(write(folder(), WORKER))
    expect(await digest(write(folder(), WORKER))).toBe(base)
    const others = [
      { ...WORKER, "worker.py": "print(2)\n" },
      { ...WORKER, "worker.py": "print(1) # comment\n" },
      { ...WORKER, "lib/new.py": "" },
      { "worker.py": WORKER["worker.py"], "lib/ops2.py": WORKER["lib/ops.py"] },
      { "worker.py": WORKER["worker.py"] }
    ]
    const digests = await Promise.all(others.map((files) => digest(write(folder(), files))))
    expect(new Set([base, ...digests]).size).toBe(others.length + 1)
  })

  it("leaves out what tools leave beside sources", async () => {
    const root = folder()
    const url = write(root, WORKER)
    const base = await digest(url)
    write(root, {
      "__pycache__/worker.cpython-311.pyc": "x",
      "lib/ops.pyc": "x",
      "lib/.pytest_cache/v": "x",
      ".venv/lib/site.py": "x",
      "node_modules/a/index.js": "x",
      ".git/HEAD": "x",
      "worker.py~": "x",
      ".DS_Store": "x"
    })
    expect(await digest(url)).toBe(base)
  })

  it("follows links to files and folders, and ends where they go round", async () => {
    const root = folder()
    const url = write(root, WORKER)
    const base = await digest(url)
    symlinkSync(root, join(root, "lib/again"))
    expect(await digest(url)).toBe(base)
    renameSync(join(root, "lib/ops.py"), join(root, "lib/moved"))
    renameSync(join(root, "lib/moved"), `${root}-ops.py`)
    symlinkSync(`${root}-ops.py`, join(root, "lib/ops.py"))
    expect(await digest(url)).toBe(base)
    rmSync(`${root}-ops.py`)
  })

  it("takes a single file", async () => {
    const [a, b] = [folder(), folder()]
    write(a, WORKER)
    write(b, { ...WORKER, "lib/ops.py": "other" })
    const of = (root: string) => digest(pathToFileURL(join(root, "worker.py")))
    expect(await of(a)).toBe(await of(b))
  })

  it.each([
    ["is not there", "nowhere/"],
    ["holds no files", "empty/"]
  ])("fails for a folder that %s: there would be a weaker key", async (_, name) => {
    const root = folder()
    mkdirSync(join(root, "empty"))
    const error = await Effect.runPromise(Effect.flip(Assets.digests([pathToFileURL(join(root, name))])))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Code", where: join(root, name) })
  })
})

const Text = document("Text/1", Schema.String)
const worker = (assets: ReadonlyArray<URL>, by: "stage" | "service") =>
  stage("work", {
    version: "1",
    module,
    ...(by === "stage" ? { assets } : { fingerprint: Effect.succeed({ facts: {}, assets }) }),
    inputs: {},
    outputs: { text: Text },
    params: Schema.Struct({}),
    run: () => Effect.succeed({ text: "" })
  })

describe.each(["stage", "service"] as const)("assets that a %s declares", (by) => {
  const graph = (url: URL) => pipeline("worked", { text: worker([url], by)({}, {}).text })

  it("are part of the key, and explain names the file that changed", async () => {
    const [root, data] = [folder(), folder()]
    const url = write(data, { "package.json": '{"name":"a-worker"}', ...WORKER })
    await inStore(root, run(graph(url)))
    expect(await inStore(root, run(graph(url)))).toMatchObject({ cached: 1, executed: 0 })
    write(data, { "lib/ops.py": "x = 2\n" })
    const { reason } = await inStore(root, explain(graph(url), "work"))
    expect(reason).toBe("code changed: a-worker/lib/ops.py")
  })

  it("that are missing are an error", async () => {
    const error = await failure(folder(), run(graph(new URL("file:///nowhere/python/"))))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Code", where: "/nowhere/python/" })
  })
})
