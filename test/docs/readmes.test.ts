/** Every package's and plugin's README is one screen that says what it is, its main export, and shows an example that works. */
import { execFile, execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, describe, expect, it } from "vitest"
import { typeCheck } from "../types/TypeCheck.js"

const root = new URL("../..", import.meta.url).pathname
const folder = mkdtempSync(join(tmpdir(), "tessera-readmes-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Readme {
  /** Of its folder, such as `packages/core`. */
  readonly name: string
  readonly text: string
  /** TypeScript programs. */
  readonly examples: ReadonlyArray<{
    readonly file: string
    readonly text: string
    /** Why it is only type-checked. */
    readonly typesOnly: string | undefined
  }>
  /** Shell lines to run beside the examples. */
  readonly commands: ReadonlyArray<string>
}

const read = (name: string): Readme => {
  const text = readFileSync(join(root, name, "README.md"), "utf8")
  const blocks = [...text.matchAll(/(?:<!-- (.*?) -->\n)?```ts\n([\s\S]*?)```/g)]
  return {
    name,
    text,
    examples: blocks.map(([, comment = "", code = ""], i) => ({
      file: /^(?:file|program): (\S+)$/.exec(comment)?.[1] ?? `example-${i}.ts`,
      typesOnly: /^example: types only \((.+)\)$/.exec(comment)?.[1],
      text: code
    })),
    commands: [...text.matchAll(/<!-- example: command -->\n```sh\n([\s\S]*?)```/g)].map(
      ([, code = ""]) => code
    )
  }
}

const readmes = execFileSync("git", ["ls-files", "packages/*/package.json", "plugins/*/package.json"], {
  cwd: root,
  encoding: "utf8"
})
  .trim()
  .split("\n")
  .map((file) => read(file.replace(/\/package\.json$/, "")))

/** An empty folder of its own, in which the workspace's packages resolve. */
const place = ({ name, examples }: Readme): string => {
  const own = join(folder, name.replace("/", "-"))
  mkdirSync(own)
  writeFileSync(join(own, "package.json"), JSON.stringify({ type: "module" }))
  symlinkSync(join(root, "node_modules"), join(own, "node_modules"))
  for (const { file, text } of examples) writeFileSync(join(own, file), text)
  return own
}

/** What a program that failed said; empty where it did not. */
const failure = (cwd: string, program: string, ...args: ReadonlyArray<string>): Promise<string> => {
  const environment = { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}` }
  return promisify(execFile)(program, args, { cwd, env: environment }).then(
    () => "",
    (error: unknown) => String(error)
  )
}

it.each(readmes)("$name: one screen, its main export, an example", ({ name, text, examples }) => {
  const { name: published } = JSON.parse(readFileSync(join(root, name, "package.json"), "utf8")) as {
    readonly name: string
  }
  expect(text.split("\n")[0]).toBe(`# ${published}`)
  expect(text.trimEnd().split("\n").length).toBeLessThanOrEqual(75)
  expect(text).toMatch(/\bmain\s+(types?|functions?|stages?|exports?)\b/)
  expect(examples.length).toBeGreaterThan(0)
})

it("the examples of all READMEs compile, as written", () => {
  const programs = [...readmes, read(".")].flatMap(({ name, examples }) =>
    examples.map(({ file, text }) => [`${name.replace(/\W/g, "-")}/${file}`, text] as const)
  )
  expect(typeCheck(Object.fromEntries(programs))).toMatchObject({ output: "", ok: true })
}, 120_000)

describe("the examples run in an empty folder", () => {
  const alone = /^packages\/|runtime-cpu$/
  const packages = readmes.filter(
    ({ name, examples }) => alone.test(name) && examples.some(({ typesOnly }) => typesOnly === undefined)
  )
  it.each(packages)(
    "$name",
    async (readme) => {
      const own = place(readme)
      for (const { file, typesOnly } of readme.examples)
        if (typesOnly === undefined) expect(await failure(own, "tsx", file)).toBe("")
      for (const command of readme.commands) expect(await failure(own, "sh", "-ec", command)).toBe("")
    },
    120_000
  )

  // What plugins show is wiring: all of it in one process.
  it("plugins", async () => {
    const own = join(folder, "plugins")
    mkdirSync(own)
    writeFileSync(join(own, "package.json"), JSON.stringify({ type: "module" }))
    symlinkSync(join(root, "node_modules"), join(own, "node_modules"))
    const files = readmes
      .filter(({ name }) => !alone.test(name))
      .flatMap(({ name, examples }) =>
        examples
          .filter(({ typesOnly }) => typesOnly === undefined)
          .map(({ file, text }) => {
            const path = `${name.replace(/\W/g, "-")}-${file}`
            writeFileSync(join(own, path), text)
            return path
          })
      )
    writeFileSync(join(own, "main.ts"), files.map((file) => `await import("./${file}")`).join("\n"))
    expect(await failure(own, "tsx", "main.ts")).toBe("")
  }, 120_000)
})
