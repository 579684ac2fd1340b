/** What `tessera run` is told about failures and about the machine. */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const noted = (file: string) => (existsSync(file) ? lines(readFileSync(file, "utf8")) : [])

const start = (cwd: string, args: ReadonlyArray<string>) =>
  tessera(["run", fixture("shaky"), "--param", `notes=${join(cwd, "notes")}`, ...args], { cwd })

describe("tessera run --keep-going", () => {
  it("computes what it can, tells all failures at the end, and ends with 1; the next run does the rest", async () => {
    const cwd = folder()
    const failed = await start(cwd, ["--keep-going", "--slot", "press=2", "--param", "refuse=true"])
    expect(failed.code).toBe(1)
    expect(failed.stderr).toContain("! count: left out, all or in part, for want of choosy")
    expect(failed.stderr).toMatch(
      /✗ 2 tasks failed:\n +stage choosy \(shard [24]\) failed: item [24] is refused\n +stage choosy \(shard [24]\)/
    )
    expect(noted(join(cwd, "notes"))).toHaveLength(4)
    const log = await tessera(["log", "last"], { cwd })
    expect(log.stdout).toMatch(/✓ whole/)
    expect(log.stdout).toMatch(/failed after/)
  })
})

describe("tessera run --slot, --executor, --memory", () => {
  it("gives a stage the named slots, in a process of its own", async () => {
    const cwd = folder()
    const options = ["--slot", "press=[left,right]", "--executor", "choosy=process", "--memory", "2GB"]
    const ran = await start(cwd, options)
    expect([ran.code, ran.stderr]).toEqual([0, expect.not.stringContaining("!")])
    const notes = noted(join(cwd, "notes"))
    expect(new Set(notes.map(({ pid }) => pid)).size).toBe(4)
    expect(notes.every(({ press }) => ["left", "right"].includes(String(press)))).toBe(true)
    // Where it ran is in no key.
    const again = await start(cwd, ["--slot", "press=1", "--json"])
    expect(lines(again.stdout).filter(({ _tag }) => _tag === "TaskStarted")).toEqual([])
  })

  it("tells what is missing where a stage wants a slot that the run has not", async () => {
    const { code, stderr } = await start(folder(), [])
    expect(code).toBe(1)
    expect(stderr).toContain("choosy: needs 1 press slot, and the run has none")
  })

  it.each([
    [["--slot", "press"], "--slot press: expected name=count, or name=[first,second]"],
    [["--slot", "press=many"], "--slot press=many: expected name=count, or name=[first,second]"],
    [["--memory", "lots"], "--memory lots: expected a size such as 48GB or 512MiB"],
    [["--executor", "choosy"], "--executor choosy: expected node=inline or node=process"],
    [["--executor", "chosy=process"], "there is no node or stage chosy; did you mean choosy?"],
    [["--executor", "choosy=proces"], "there is no executor proces; did you mean process?"]
  ])("refuses %j", async (args, message) => {
    const { code, stderr } = await start(folder(), args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
  })
})

describe("tessera job", () => {
  it("refuses a file that is no job", async () => {
    const cwd = folder()
    const { code, stderr } = await tessera(["job", "nowhere.json"], { cwd })
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining("nowhere.json: is not a job that this version can do")
    ])
  })
})

describe("tessera log --schema", () => {
  it("gives the JSON Schema of events", async () => {
    const { stdout } = await tessera(["log", "--schema"], { cwd: folder() })
    const schema = JSON.parse(stdout) as { readonly anyOf: ReadonlyArray<{ readonly description: string }> }
    expect(schema.anyOf).toHaveLength(11)
    expect(schema.anyOf.every(({ description }) => description.length > 10)).toBe(true)
  })
})
