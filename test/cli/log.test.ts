import { describe, expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

describe("tessera log", () => {
  it("lists runs, newest first, with how they ended and what they cost", async () => {
    const cwd = folder()
    expect((await tessera(["log"], { cwd })).stdout).toContain("Nothing has run")
    await tessera(["run", fixture("squares")], { cwd })
    await tessera(["run", fixture("squares")], { cwd })
    await tessera(["run", fixture("failing")], { cwd })
    const { stdout, code } = await tessera(["log"], { cwd })
    expect(code).toBe(0)
    const [failed, cached, computed] = stdout.trim().split("\n").slice(2)
    expect(failed).toMatch(/failing +\S+ \S+ +\S+ s +1 +0 +failed$/)
    expect(cached).toMatch(/squares +\S+ \S+ +\S+ s +0 +4 +succeeded$/)
    expect(computed).toMatch(/squares +\S+ \S+ +\S+ s +4 +0 +succeeded$/)
    const two = JSON.parse((await tessera(["log", "-n", "2", "--json"], { cwd })).stdout) as unknown
    expect(two).toMatchObject([
      { pipeline: "failing", outcome: "failed", executed: 1, failed: 1 },
      { pipeline: "squares", outcome: "succeeded", executed: 0, cached: 4 }
    ])
  })

  it("tells what one run did, by the start of its id, and refuses one that is not there", async () => {
    const cwd = folder()
    await tessera(["run", fixture("squares")], { cwd })
    const last = await tessera(["log", "last"], { cwd })
    expect(last.stdout).toMatch(/run \S+ of squares, 3 nodes/)
    expect(last.stdout).toMatch(/> numbers +never ran/)
    expect(last.stdout).toMatch(/✓ square\[\d\] +\S+ s, sha256:[0-9a-f]{12}/)
    expect(last.stdout).toMatch(/succeeded after/)
    const events = lines((await tessera(["log", "last", "--json"], { cwd })).stdout)
    const run = String(events[0]?.["run"])
    expect((await tessera(["log", run.slice(0, 12)], { cwd })).stdout).toBe(last.stdout)

    const wrong = await tessera(["log", "0000"], { cwd })
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("0000: there is no such run")])
  })

  it("follows a run of another process to its end", async () => {
    const cwd = folder()
    let following: ReturnType<typeof tessera> | undefined
    const running = await tessera(["run", fixture("slow"), "--concurrency", "1"], {
      cwd,
      env: { SLOW_MILLIS: "1500" },
      onStderr: (text) => {
        if (/> work/.test(text)) following ??= tessera(["log", "--follow", "--json"], { cwd })
      }
    })
    expect(running.code).toBe(0)
    const followed = await following
    expect(followed?.code).toBe(0)
    const tags = lines(followed?.stdout ?? "").map(({ _tag }) => _tag)
    expect([tags[0], tags.at(-1)]).toEqual(["RunStarted", "RunFinished"])
    expect(tags.filter((tag) => tag === "TaskCommitted")).toHaveLength(7)
  })

  it("follows a run whose process is killed to what it told last, says that it was killed, and ends with 1", async () => {
    const cwd = folder()
    let following: ReturnType<typeof tessera> | undefined
    const killed = await tessera(["run", fixture("slow"), "--concurrency", "1"], {
      cwd,
      env: { SLOW_MILLIS: "600000" },
      onStderr: (text, kill) => {
        if (following !== undefined || !/> work/.test(text)) return
        following = tessera(["log", "--follow", "--json"], { cwd })
        // By then it follows, and three quick shards are done.
        setTimeout(() => kill("SIGKILL"), 3000)
      }
    })
    expect(killed.signal).toBe("SIGKILL")
    const { code, stdout } = (await following) ?? { code: undefined, stdout: "" }
    const told = lines(stdout)
    expect(code).toBe(1)
    expect(told.filter(({ _tag }) => _tag === "TaskCommitted")).toHaveLength(4)
    expect(told.at(-1)).toMatchObject({
      _tag: "Failure",
      exit: 1,
      reason: "CliError/Killed",
      message: expect.stringMatching(/^run \S+: was killed/)
    })
    // Long after the fact too, and by text.
    const later = await tessera(["log", "last", "--follow"], { cwd })
    expect([later.code, later.stderr]).toEqual([1, expect.stringContaining("go on from there")])
  })
})
