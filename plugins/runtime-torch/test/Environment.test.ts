/** Environments, made with the real pip of packages made here: no network is needed. */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Progress } from "@tessera/core"
import { Effect, Either, Fiber } from "effect"
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest"
import {
  basePython,
  environmentPath,
  interpreterIn,
  locks,
  makeEnvironment,
  type Wanted
} from "../src/index.js"

const found = await Effect.runPromise(Effect.either(basePython))
if (Either.isLeft(found)) console.warn(`SKIPPED, no environment is made: ${found.left.message}`)

const root = mkdtempSync(join(tmpdir(), "tessera-environments-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

/** A wheel of one module, and its line in a lock. */
const wheel = (name: string, code: string): string => {
  const folder = join(root, "wheels", name)
  const info = `${name}-1.0.dist-info`
  mkdirSync(join(folder, info), { recursive: true })
  writeFileSync(join(folder, `${name}.py`), code)
  writeFileSync(join(folder, info, "METADATA"), `Metadata-Version: 2.1\nName: ${name}\nVersion: 1.0\n`)
  writeFileSync(join(folder, info, "WHEEL"), "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
  writeFileSync(
    join(folder, info, "RECORD"),
    `${name}.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n`
  )
  const file = join(root, "wheels", `${name}-1.0-py3-none-any.whl`)
  execFileSync("python3", ["-m", "zipfile", "-c", file, `${name}.py`, info], { cwd: folder })
  return `${name}==1.0 --hash=sha256:${createHash("sha256").update(readFileSync(file)).digest("hex")}\n`
}

const lock = (name: string, ...lines: ReadonlyArray<string>): URL => {
  const file = join(root, `${name}.lock`)
  writeFileSync(file, lines.join(""))
  return pathToFileURL(file)
}

describe.skipIf(Either.isLeft(found))("an environment", { timeout: 180_000 }, () => {
  const base = Either.getOrElse(found, () => ({ program: "", tag: "" }))
  const before = { ...process.env }
  let cache = ""
  beforeEach(() => {
    cache = mkdtempSync(join(root, "cache-"))
    Object.assign(process.env, {
      XDG_CACHE_HOME: cache,
      PIP_NO_INDEX: "1",
      PIP_FIND_LINKS: join(root, "wheels"),
      PIP_CONFIG_FILE: "/dev/null"
    })
  })
  afterEach(() => {
    for (const name of ["XDG_CACHE_HOME", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE"]) {
      if (before[name] === undefined) delete process.env[name]
      else process.env[name] = before[name]
    }
  })
  const make = (wanted: Wanted, report?: (progress: Progress) => Effect.Effect<void>) =>
    makeEnvironment(wanted, base, report)
  const failure = (wanted: Wanted) => Effect.runPromise(Effect.flip(make(wanted)))
  const made = () => readdirSync(join(cache, "tessera", "python")).sort()

  it("is made once, however many ask at once, and tells what it does", async () => {
    const wanted = {
      lock: lock("two", wheel("one_module", "x = 1"), wheel("two_module", "y = 2")),
      modules: ["one_module"]
    }
    const seen: Array<Progress> = []
    const report = (progress: Progress) => Effect.sync(() => void seen.push(progress))
    const [python, other] = await Effect.runPromise(
      Effect.all([make(wanted, report), make(wanted, report)], { concurrency: 2 })
    )
    expect(other).toBe(python)
    expect(python).toBe(interpreterIn(await Effect.runPromise(environmentPath(wanted, base))))
    expect(
      execFileSync(python, ["-c", "import one_module, two_module; print(two_module.y)"], { encoding: "utf8" })
    ).toBe("2\n")
    expect(seen.map(({ label }) => label)).toEqual([
      "one_module-1.0-py3-none-any.whl",
      "two_module-1.0-py3-none-any.whl",
      "installing"
    ])
    expect(seen.every(({ total, unit }) => total === 2 && unit === "packages")).toBe(true)
    expect(made()).toEqual([expect.stringMatching(/^[0-9a-f]{32}-/)])
  })

  it("goes on from where it was interrupted", async () => {
    const wanted = { lock: lock("again", wheel("again_module", "z = 3")), modules: ["again_module"] }
    const target = await Effect.runPromise(environmentPath(wanted, base))
    await Effect.runPromise(
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(make(wanted))
        while (!existsSync(`${target}.draft/bin/python`)) yield* Effect.sleep("20 millis")
        yield* Fiber.interrupt(fiber)
      })
    )
    expect(made()).toEqual([expect.stringMatching(/\.draft$/)])
    const python = await Effect.runPromise(make(wanted))
    expect(python).toBe(interpreterIn(target))
    expect(made()).toEqual([expect.stringMatching(/^[0-9a-f]{32}-[^.]+$/)])
  })

  it("that cannot be had is a tagged error: no build, no network, no space, a broken package", async () => {
    const missing = await failure({
      lock: lock("missing", "no_such_thing==1.0 --hash=sha256:00\n"),
      modules: []
    })
    expect(missing).toMatchObject({ _tag: "EnvironmentError", reason: "Unsupported" })
    delete process.env["PIP_NO_INDEX"]
    // Nobody listens at the discard port.
    Object.assign(process.env, { PIP_INDEX_URL: "http://127.0.0.1:9/", PIP_RETRIES: "1" })
    const offline = await failure({
      lock: lock("offline", "no_such_thing==1.1 --hash=sha256:00\n"),
      modules: []
    })
    delete process.env["PIP_INDEX_URL"]
    delete process.env["PIP_RETRIES"]
    expect(offline).toMatchObject({ reason: "NoNetwork" })
    expect(offline.message).toMatch(/check the network.*run it again/s)
    const full = await failure({ lock: lock("full", wheel("full_module", "")), modules: [], bytes: 1e18 })
    expect(full).toMatchObject({ reason: "NoSpace" })
    expect(full.message).toMatch(/GB are free; free some, or set XDG_CACHE_HOME/)
    process.env["PIP_NO_INDEX"] = "1"
    const broken = await failure({
      lock: lock("broken", wheel("broken_module", "import nothing_like_it")),
      modules: ["broken_module"]
    })
    expect(broken).toMatchObject({ reason: "Failed" })
    expect(broken.message).toMatch(/cannot be imported.*No module named 'nothing_like_it'/s)
    expect(made()).toEqual([expect.stringMatching(/\.draft$/), expect.stringMatching(/\.draft$/)])
  })

  it("needs a Python with venv, and says so where there is none", async () => {
    const path = process.env["PATH"]
    process.env["PATH"] = root
    const error = await Effect.runPromise(Effect.flip(basePython))
    process.env["PATH"] = path
    expect(error).toMatchObject({ reason: "NoPython" })
    expect(error.message).toMatch(/no Python 3.10 or newer.*python3-venv/)
  })
})

it.each(Object.entries(locks))("the lock for %s pins every package by hash", (_, lock) => {
  const lines = readFileSync(lock, "utf8").split("\n")
  const packages = lines.filter((line) => /^[a-z]/i.test(line))
  expect(packages.length).toBeGreaterThan(20)
  expect(packages.filter((line) => !line.includes("==") || !line.endsWith("\\"))).toEqual([])
})
