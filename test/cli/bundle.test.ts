/** The command starts from a bundle of its modules where one is certain to be what the files say. */
import { execFile } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { beforeAll, describe, expect, it } from "vitest"
import { bin, fixture, folder, lines, tessera } from "./Tessera.js"

const execute = promisify(execFile)
const builder = (root: string) => path.join(root, "bin/bundle-build.js")
const cli = fileURLToPath(new URL("../../packages/cli", import.meta.url))

/** CI: nothing is built in the background. */
const env = { CI: "1", NODE_DEBUG: "tessera" }

/** A command of two files, with what the real one starts with. */
const command = (): string => {
  const root = folder()
  cpSync(path.join(cli, "bin"), path.join(root, "bin"), { recursive: true })
  mkdirSync(path.join(root, "src"))
  mkdirSync(path.join(root, "node_modules"))
  for (const name of readdirSync(path.join(cli, "node_modules")).filter((name) => !name.startsWith(".")))
    symlinkSync(path.join(cli, "node_modules", name), path.join(root, "node_modules", name))
  const dependencies = { effect: "*", tsx: "*" }
  const manifest = { name: "@tessera/cli", version: "0.0.1", type: "module", dependencies }
  writeFileSync(path.join(root, "package.json"), JSON.stringify(manifest))
  writeFileSync(
    path.join(root, "src/main.ts"),
    `import { word } from "./word.js"\nconsole.log(word(), import.meta.url)`
  )
  say(root, "one")
  return root
}
const say = (root: string, word: string) =>
  writeFileSync(path.join(root, "src/word.ts"), `export const word = (): string => "${word} \u00f6"\n`)

const start = async (root: string, more: Readonly<Record<string, string>> = {}, args = ["log"]) => {
  const { stderr, stdout } = await execute(process.execPath, [path.join(root, "bin/tessera.js"), ...args], {
    env: { ...process.env, ...env, ...more }
  })
  const from = /compiled code (used|missing|rejected)/.exec(stderr)?.[1] ?? "files"
  return { from, said: stdout.trim().split(" ").slice(0, 2).join(" "), url: stdout.trim().split(" ").at(-1) }
}
const build = (root: string) =>
  execute(process.execPath, [builder(root)], { env: { ...process.env, ...env } })
const cache = (root: string) => path.join(root, "node_modules/.cache/tessera")

describe("a bundle", { timeout: 240_000 }, () => {
  it("is what the files say, with their own addresses, and is not used after an edit", async () => {
    const root = command()
    const plain = await start(root)
    expect(plain).toMatchObject({ from: "files", said: "one ö" })
    await build(root)
    expect(await start(root)).toEqual({ ...plain, from: "used" })
    expect(await start(root, { TESSERA_BUNDLE: "off" })).toEqual(plain)
    say(root, "two")
    expect(await start(root)).toMatchObject({ from: "files", said: "two ö" })
    await build(root)
    expect(await start(root)).toMatchObject({ from: "used", said: "two ö" })
  })

  it("is not used after an installation, or for other export conditions", async () => {
    const root = command()
    await build(root)
    expect((await start(root)).from).toBe("used")
    expect((await start(root, { NODE_OPTIONS: "--conditions=development" })).from).toBe("files")
    writeFileSync(path.join(root, "node_modules/.package-lock.json"), "{}")
    expect((await start(root)).from).toBe("files")
  })

  it("that is damaged is not used", async () => {
    const root = command()
    await build(root)
    const [made = ""] = readdirSync(cache(root)).filter((name) => !name.includes("."))
    for (const [name, args] of [
      ["command.cjs", ["log"]],
      ["pipelines.cjs", ["plan", "pipeline.ts"]]
    ] as const) {
      const script = path.join(cache(root), made, name)
      expect((await start(root, {}, [...args])).from).toBe("used")
      writeFileSync(script, readFileSync(script, "utf8").slice(0, -100))
      expect(await start(root, {}, [...args])).toMatchObject({ from: "files", said: "one ö" })
    }
  })

  it("that is old goes when the next is built, and nothing else that lies beside it", async () => {
    const root = command()
    await build(root)
    const [made = ""] = readdirSync(cache(root)).filter((name) => !name.includes("."))
    const other = path.join(cache(root), "python")
    mkdirSync(other)
    for (const old of [other, path.join(cache(root), made)]) utimesSync(old, 0, 0)
    say(root, "two")
    await build(root)
    const left = readdirSync(cache(root)).filter((name) => !name.includes("."))
    expect(left).toContain("python")
    expect(left).not.toContain(made)
    expect(left.length).toBe(2)
  })

  it("is built by one process at a time", async () => {
    const root = command()
    await Promise.all([build(root), build(root), build(root)])
    expect((await start(root)).from).toBe("used")
    expect(readdirSync(cache(root)).filter((name) => name.endsWith(".building"))).toEqual([])
  })
})

describe("the command from its bundle", { timeout: 240_000 }, () => {
  beforeAll(() => execute(process.execPath, [builder(cli)]), 240_000)

  it("says the same as from its files", async () => {
    for (const args of [["--help"], ["run", "--help"], ["pln"], ["log"]]) {
      const cwd = folder()
      const [bundled, files] = [
        await tessera(args, { cwd, env: { CI: "1" } }),
        await tessera(args, { cwd, env: { TESSERA_BUNDLE: "off" } })
      ]
      expect(bundled).toEqual(files)
    }
  })

  it("draws the same as from its files, with what is not in it", async () => {
    const cwd = folder()
    writeFileSync(path.join(cwd, "moa.json"), JSON.stringify({ alphas: [[0, 64]], betas: [[0.5, 0]] }))
    const shape = "layers=1,query-heads=2,kv-heads=2,head-dim=8"
    const draw = async (file: string, more: Readonly<Record<string, string>>) => {
      const args = ["plan-info", "moa.json", "--shape", shape, "--svg", file]
      expect(await tessera(args, { cwd, env: { CI: "1", ...more } })).toMatchObject({ code: 0, stderr: "" })
      return readFileSync(path.join(cwd, file), "utf8")
    }
    expect(await draw("bundled.svg", {})).toBe(await draw("files.svg", { TESSERA_BUNDLE: "off" }))
  })

  it("computes under the same keys, and shares its modules with the pipeline", async () => {
    const cwd = folder()
    // Values of the bundle's modules and of the pipeline's imports are of one make.
    writeFileSync(
      path.join(cwd, "same.ts"),
      `import { Table } from "apache-arrow"
import * as Command from "@effect/cli/Command"
import { GraphError, sha256 } from "@tessera/core"
import { Effect, Schema } from "effect"
import * as Deep from "effect/Effect"
const bundle = globalThis[Symbol.for("tessera.bundle")]
const of = (end) => bundle[Object.keys(bundle).find((file) => file.endsWith(end))]()
if (of("/effect/dist/esm/Effect.js").succeed !== Effect.succeed || Deep.succeed !== Effect.succeed) throw new Error("effect")
if (of("/effect/dist/esm/Schema.js").Struct !== Schema.Struct) throw new Error("schema")
if (of("/core/src/Key.ts").sha256 !== sha256 || of("/core/src/Errors.ts").GraphError !== GraphError) throw new Error("core")
if (of("/apache-arrow/table.mjs").Table !== Table) throw new Error("arrow")
if (of("/@effect/cli/dist/esm/Command.js").make !== Command.make) throw new Error("cli")
export { default } from ${JSON.stringify(fixture("squares"))}
`
    )
    const run = async (more: Readonly<Record<string, string>>, file: string) => {
      const ended = await tessera(["run", file, "--json"], { cwd, env: { CI: "1", ...more } })
      expect(ended).toMatchObject({ code: 0 })
      return lines(ended.stdout).map(({ _tag }) => _tag)
    }
    expect(await run({ TESSERA_BUNDLE: "off" }, fixture("squares"))).toContain("TaskCommitted")
    expect(await run({}, path.join(cwd, "same.ts"))).not.toContain("TaskCommitted")
  })

  it("tells its version at once", async () => {
    const { stdout } = await execute(process.execPath, [bin, "--version"])
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
