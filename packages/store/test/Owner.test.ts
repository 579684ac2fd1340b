import { spawnSync } from "node:child_process"
import { describe, expect, it } from "vitest"
import { fate, pidOf, uniqueName } from "../src/Owner.js"

const mine = uniqueName()
const [pid = "", started = "", place = "", random = ""] = mine.split("-")
const name = (...parts: ReadonlyArray<string>) => parts.join("-")
// Its id is free again, or another's.
const dead = String(spawnSync(process.execPath, ["-e", ""]).pid)
const hasProc = process.platform === "linux"

describe("a name", () => {
  it("is never given twice and tells which process made it", () => {
    const names = Array.from({ length: 1000 }, uniqueName)
    expect(new Set(names).size).toBe(1000)
    expect(new Set(names.map(pidOf))).toEqual(new Set([process.pid]))
    expect(pidOf("stats.json")).toBeUndefined()
  })
})

describe("the process that made a name", () => {
  it.runIf(hasProc)("is alive while it runs", () => {
    expect(fate(mine)).toBe("alive")
    expect(fate(`${mine}~host`)).toBe("alive")
  })

  it("is dead when there is none of its id", () => {
    expect(fate(name(dead, started, place, random))).toBe("dead")
  })

  it.runIf(hasProc)("is dead when its id went to a process that started at another time", () => {
    expect(fate(name(pid, `${started}z`, place, random))).toBe("dead")
  })

  it("is unknown on another machine, in another process namespace, and to names of another kind", () => {
    expect(fate(name(dead, started, "0123456789", random))).toBe("unknown")
    expect(fate("stats.json")).toBe("unknown")
  })

  it("is unknown where the system does not tell when it started", () => {
    expect(fate(name(pid, "0", place, random))).toBe("unknown")
  })
})
