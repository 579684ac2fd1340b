import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { describe, expect, it } from "vitest"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const squares = fixture("squares")

/** Files of a part of the store. */
const files = (cwd: string, part: string): ReadonlyArray<string> =>
  readdirSync(path.join(cwd, ".tessera", part), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))

const counts = async (cwd: string, ...args: ReadonlyArray<string>) =>
  /\d+ executed, \d+ cached/.exec((await tessera(["run", squares, ...args], { cwd })).stdout)?.[0]

/** A store with a run of two titles, the second one newer. */
const twoRuns = async (): Promise<string> => {
  const cwd = folder()
  await counts(cwd, "--param", "count=3")
  await counts(cwd, "--param", "count=6", "--param", "title=New")
  return cwd
}

describe("tessera gc", () => {
  it("removes nothing without a scope, nothing without --delete, and nothing that is young", async () => {
    const cwd = await twoRuns()
    const before = files(cwd, ".")
    const bare = await tessera(["gc", "--delete"], { cwd })
    expect([bare.code, bare.stderr]).toEqual([2, expect.stringContaining("say what is to be kept")])
    const dry = await tessera(["gc", "--keep-runs", "1", "--grace-hours", "0"], { cwd })
    expect(dry.stdout).toMatch(/runs +1 +1\nresults +[1-9]/)
    expect(dry.stdout).toContain("Nothing was removed")
    const young = await tessera(["gc", "--keep-runs", "0", "--delete"], { cwd })
    expect(young.stdout).toMatch(/runs +0 +2\nresults +0 +\d+\nblobs +0 +\d+/)
    expect(files(cwd, ".")).toEqual(before)
  })

  it("leaves kept runs wholly cached, and what went is computed again to equal bytes", async () => {
    const cwd = await twoRuns()
    const old = lines((await tessera(["log", "--json", "last"], { cwd })).stdout)
    expect(old.length).toBeGreaterThan(0)
    const first = await tessera(["show", "report", "--json"], { cwd })
    const deleted = await tessera(["gc", "--keep-runs", "1", "--grace-hours", "0", "--delete", "--json"], {
      cwd
    })
    const gone = JSON.parse(deleted.stdout) as { readonly blobs: ReadonlyArray<string> }
    expect(gone.blobs.length).toBeGreaterThan(0)
    expect(await counts(cwd, "--param", "count=6", "--param", "title=New")).toBe("0 executed, 4 cached")
    expect((await tessera(["show", "report", "--json"], { cwd })).stdout).toContain(
      (JSON.parse(first.stdout) as { readonly digest: string }).digest
    )
    expect((await tessera(["verify"], { cwd })).code).toBe(0)
    // Both runs' numbers begin alike, but no result of the first run is left.
    expect(await counts(cwd, "--param", "count=3")).toMatch(/^[34] executed/)
    const nothing = await tessera(["gc", "--keep-runs", "0", "--grace-hours", "0", "--delete"], { cwd })
    expect(nothing.code).toBe(0)
    expect(files(cwd, "blobs")).toEqual([])
    expect(files(cwd, "actions")).toEqual([])
  })

  it("takes nothing from a run of another process that is under way", async () => {
    const cwd = folder()
    const slow = fixture("slow")
    let collecting: ReturnType<typeof tessera> | undefined
    const first = await tessera(["run", slow, "--concurrency", "1"], {
      cwd,
      env: { SLOW_MILLIS: "1500" },
      onStderr: (text) => {
        if (/> work/.test(text)) {
          const hard = ["gc", "--keep-runs", "0", "--grace-hours", "0", "--delete", "--json"]
          collecting ??= tessera(hard, { cwd })
        }
      }
    })
    expect(first.code).toBe(0)
    const gone = JSON.parse((await collecting)?.stdout ?? "") as Readonly<Record<string, unknown>>
    expect([gone["runs"], gone["actions"], gone["blobs"]]).toEqual([[], [], []])
    expect((await tessera(["run", slow], { cwd })).stdout).toMatch(/0 executed, 7 cached/)
  })

  it("leaves pinned artifacts, which are shown by the name of the pin", async () => {
    const cwd = await twoRuns()
    expect((await tessera(["pin"], { cwd })).stdout).toContain("Nothing is pinned")
    expect((await tessera(["pin", "old", "package"], { cwd })).stdout).toContain("Package/1")
    const shown = (await tessera(["show", "old"], { cwd })).stdout
    await tessera(["gc", "--keep-runs", "0", "--grace-hours", "0", "--delete"], { cwd })
    expect((await tessera(["show", "old"], { cwd })).stdout).toBe(shown)
    expect((await tessera(["pin"], { cwd })).stdout).toMatch(/old +Package\/1/)
    expect((await tessera(["pin", "old", "--remove"], { cwd })).code).toBe(0)
    await tessera(["gc", "--keep-runs", "0", "--grace-hours", "0", "--delete"], { cwd })
    expect(files(cwd, "blobs")).toEqual([])
  })

  it("pins one artifact under a plain name only", async () => {
    const cwd = await twoRuns()
    const cases = [
      [["pin", "a/b", "report"], "is not a name for a pin"],
      [["pin", "a"], "says nothing to pin"],
      [["pin", "a", "square.squares"], "is 2 shards"],
      [["pin", "a", "reprot"], "no such artifact"],
      [["pin", "a", "--remove"], "no such pin"]
    ] as const
    for (const [args, message] of cases) {
      const { code, stderr } = await tessera(args, { cwd })
      expect([code, stderr]).toEqual([2, expect.stringContaining(message)])
    }
  })
})

describe("tessera verify", () => {
  it("finds one flipped bit, names the result, and the next run computes it again", async () => {
    const cwd = folder()
    await counts(cwd)
    expect((await tessera(["verify"], { cwd })).stdout).toMatch(/^\d+ blobs, .*: 0 damaged\n$/)
    const { digest } = JSON.parse((await tessera(["show", "report", "--json"], { cwd })).stdout) as {
      readonly digest: string
    }
    const hex = digest.replace("sha256:", "")
    const blob = path.join(cwd, ".tessera/blobs", hex.slice(0, 2), hex.slice(2))
    const bytes = readFileSync(blob)
    bytes[3] = (bytes[3] ?? 0) ^ 1
    chmodSync(blob, 0o644)
    writeFileSync(blob, bytes)

    const found = await tessera(["verify"], { cwd })
    expect(found.code).toBe(3)
    expect(found.stdout).toMatch(/1 damaged\n.*is damaged/)
    expect(found.stdout).toMatch(/1 results are not whole:\n +report /)
    expect(await counts(cwd)).toBe("1 executed, 3 cached")
    expect((await tessera(["verify"], { cwd })).code).toBe(0)
  })
})
