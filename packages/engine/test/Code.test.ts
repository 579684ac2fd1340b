import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import * as Code from "../src/Code.js"

const root = realpathSync(mkdtempSync(join(tmpdir(), "tessera-code-")))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const SOURCES = {
  "stage.ts": `import { Effect } from "effect"
import { helper } from "./lib/helper.js"
/** Says it. */
export default Effect.sync(() => helper(2))
export const lazy = () => import("./lib/lazy.js")
`,
  "lib/helper.ts": `import { far } from "./far.js"
export const helper = (n: number): number => far(n) + 1
export const unused = () => 5
`,
  "lib/far.ts": `// far away
export default class Named {}
export const far = (n: number) => n * 2
`,
  "lib/lazy.ts": `export const late = 1
`
}

const checkout = (name: string, edits: Partial<typeof SOURCES> = {}): string => {
  const folder = join(root, name)
  for (const [file, text] of Object.entries({ ...SOURCES, ...edits })) {
    mkdirSync(join(folder, file, ".."), { recursive: true })
    writeFileSync(join(folder, file), text)
  }
  return pathToFileURL(join(folder, "stage.ts")).href
}

const digest = async (module: string): Promise<string> => {
  const [code] = await Effect.runPromise(Code.digests([module]))
  return code?.digest ?? ""
}

describe("digests", () => {
  let base = ""
  beforeAll(async () => {
    symlinkSync(realpathSync(join(import.meta.dirname, "../node_modules")), join(root, "node_modules"))
    base = await digest(checkout("a"))
  })

  it("are equal in another checkout, also one whose folders are named otherwise", async () => {
    expect(await digest(checkout("some/where/else"))).toBe(base)
  })

  it("ignore comments and white space", async () => {
    const edited = {
      "stage.ts": SOURCES["stage.ts"].replace("/** Says it. */", "// another word\n\n\n"),
      "lib/far.ts": SOURCES["lib/far.ts"].replace("// far away", "/* nearer */").replace("n * 2", "n   *   2")
    }
    expect(await digest(checkout("comments", edited))).toBe(base)
  })

  it("change with a helper two files away", async () => {
    expect(
      await digest(checkout("far", { "lib/far.ts": SOURCES["lib/far.ts"].replace("n * 2", "n * 3") }))
    ).not.toBe(base)
  })

  it("change with a module that is imported dynamically", async () => {
    expect(await digest(checkout("lazy", { "lib/lazy.ts": "export const late = 2" }))).not.toBe(base)
  })

  it("ignore functions nothing calls", async () => {
    const edited = { "lib/helper.ts": SOURCES["lib/helper.ts"].replace("=> 5", "=> 6") }
    expect(await digest(checkout("unused", edited))).toBe(base)
  })

  it("change with the version of an installed package, and with that of a package it depends on", async () => {
    const at = (name: string, direct: string, deep: string): string => {
      const module = checkout(name, { "stage.ts": `import { x } from "direct"\nexport default x` })
      const modules = join(root, name, "node_modules")
      const write = (file: string, content: object) => {
        mkdirSync(join(modules, file), { recursive: true })
        writeFileSync(join(modules, file, "package.json"), JSON.stringify(content))
      }
      write("direct", { name: "direct", version: direct, dependencies: { deep: "*" } })
      write("deep", { name: "deep", version: deep })
      return module
    }
    const one = await digest(at("p1", "1.0.0", "1.0.0"))
    expect(await digest(at("p2", "1.0.0", "1.0.0"))).toBe(one)
    expect(await digest(at("p3", "1.0.1", "1.0.0"))).not.toBe(one)
    expect(await digest(at("p4", "1.0.0", "1.0.1"))).not.toBe(one)
  })

  it("take linked workspace packages as source and installed ones by version and integrity", async () => {
    const module = checkout("linked", {
      "stage.ts": `import { sha256 } from "@tessera/core"\nimport { Effect } from "effect"\nexport default [sha256, Effect]`
    })
    const [code] = await Effect.runPromise(Code.digests([module]))
    expect(code?.files.some((file) => file.endsWith("packages/core/src/Key.ts"))).toBe(true)
    expect(code?.packages.find((id) => id.startsWith("effect@"))).toMatch(/^effect@3\.\d+\.\d+ sha512-/)
  })

  it("name the module whose import is missing", async () => {
    const module = checkout("broken", { "lib/far.ts": `import "./nowhere.js"` })
    const error = await Effect.runPromise(Effect.flip(Code.digests([module])))
    expect(error).toMatchObject({ _tag: "EngineError", reason: "Code", where: module })
    expect(error.message).toContain("nowhere.js")
  })

  it("record files under portable names, each by its code", async () => {
    const of = async (module: string) =>
      Effect.runPromise(Effect.flatMap(Code.digests([module]), Code.record))
    const record = await of(checkout("record"))
    cpSync(join(root, "record"), join(root, "record2"), { recursive: true })
    writeFileSync(join(root, "record2/lib/far.ts"), SOURCES["lib/far.ts"].replace("n * 2", "n + 2"))
    writeFileSync(join(root, "record2/lib/helper.ts"), `// comment only\n${SOURCES["lib/helper.ts"]}`)
    const other = await of(pathToFileURL(join(root, "record2/stage.ts")).href)
    expect(Object.keys(record.files)).toEqual(["lib/far.ts", "lib/helper.ts", "lib/lazy.ts", "stage.ts"])
    const changed = Object.keys(record.files).filter((file) => record.files[file] !== other.files[file])
    expect(changed).toEqual(["lib/far.ts"])
  })
})
