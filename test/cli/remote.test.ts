/** The command on machines that share a remote store: a real nginx. */
import { readFileSync, statSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { generateKeys } from "@tessera/store/remote"
import { beforeEach, describe, expect, it, onTestFinished } from "vitest"
import { freePort, missing, nginx, type Nginx } from "../../packages/store/test/Nginx.js"
import { fixture, folder, lines, tessera } from "./Tessera.js"

const squares = fixture("squares")

/** A new private key in a folder; its public key. */
const newKey = (cwd: string): string => {
  const { pem, publicKey } = generateKeys()
  writeFileSync(path.join(cwd, "ci.key"), pem)
  return publicKey
}

it("tessera keys makes a private key that only its owner reads, tells the public one, and overwrites nothing", async () => {
  const cwd = folder()
  const made = await tessera(["keys", "new", "ci.key"], { cwd })
  expect([made.code, made.stdout]).toEqual([0, expect.stringMatching(/^ed25519:[\w-]{43}\n$/)])
  const file = path.join(cwd, "ci.key")
  expect(statSync(file).mode & 0o777).toBe(0o600)
  const before = readFileSync(file, "utf8")
  const [again, shown] = await Promise.all([
    tessera(["keys", "new", "ci.key"], { cwd }),
    tessera(["keys", "public", "ci.key"], { cwd })
  ])
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining("is not written over")])
  expect(shown.stdout).toBe(made.stdout)
  expect(readFileSync(file, "utf8")).toBe(before)
})

// Many processes one after the other.
const timeout = 240_000

describe.skipIf(missing !== undefined)(missing ?? "tessera run with a remote store", { timeout }, () => {
  let remote: Nginx
  beforeEach(async () => {
    remote = await nginx()
    onTestFinished(() => remote.close())
  })

  it("takes from CI what CI computed, with two settings on either side", async () => {
    const ci = folder()
    const key = newKey(ci)
    const first = await tessera(["run", squares], {
      cwd: ci,
      env: { TESSERA_REMOTE: remote.url, TESSERA_SIGNING_KEY: "ci.key" }
    })
    expect([first.code, first.stderr]).toEqual([0, expect.not.stringContaining("!")])
    expect(first.stdout).toContain("4 executed, 0 cached")

    const laptop = { cwd: folder(), env: { TESSERA_REMOTE: remote.url, TESSERA_TRUSTED_KEYS: key } }
    const planned = await tessera(["plan", squares], laptop)
    expect(planned.stdout).toContain("3 of 3 nodes cached")
    const second = await tessera(["run", squares], laptop)
    expect(second.stdout).toContain("0 executed, 4 cached")
    // Of the intermediate results only what is asked for is fetched; the others are not missing.
    const [report, shard, verified] = await Promise.all([
      tessera(["show", "report", "--json"], laptop),
      tessera(["show", "square.squares[0]", "--json"], laptop),
      tessera(["verify"], laptop)
    ])
    expect(report.stdout).toContain('"total":30')
    expect(shard.code).toBe(0)
    expect(verified.stdout).toMatch(/: 0 damaged\n$/)
    expect(remote.requests().filter((request) => /^PUT .* 2/.test(request)).length).toBe(
      remote.files("ac").length + remote.files("cas").length
    )
  })

  it("reads the private key itself from a secret, and trusted keys from a file", async () => {
    const ci = folder()
    const key = newKey(ci)
    const secret = readFileSync(path.join(ci, "ci.key"), "utf8")
    await tessera(["run", squares], {
      cwd: ci,
      env: { TESSERA_REMOTE: remote.url, TESSERA_SIGNING_KEY: secret }
    })
    const cwd = folder()
    writeFileSync(path.join(cwd, "trusted"), `# Who makes results\n${key} ci\n`)
    const second = await tessera(["run", squares], {
      cwd,
      env: { TESSERA_REMOTE: remote.url, TESSERA_TRUSTED_KEYS: "trusted" }
    })
    expect(second.stdout).toContain("0 executed, 4 cached")
  })

  it("sends the header that is set, and no other run gets in", async () => {
    await remote.stop()
    await remote.start({ extra: 'if ($http_authorization != "Bearer sesame") { return 401; }' })
    const cwd = folder()
    newKey(cwd)
    const env = { TESSERA_REMOTE: remote.url, TESSERA_SIGNING_KEY: "ci.key" }
    const refused = await tessera(["run", squares], { cwd, env })
    expect(refused.stdout).toContain("4 executed, 0 cached")
    expect(refused.stderr.match(/answers 401.*TESSERA_REMOTE_HEADER/g)?.length).toBe(1)
    expect(refused.stderr).toMatch(/results not sent: \d+ .*the next run sends them/)
    const let_in = await tessera(["run", squares], {
      cwd,
      env: { ...env, TESSERA_REMOTE_HEADER: "Authorization: Bearer sesame" }
    })
    expect([let_in.code, let_in.stdout]).toEqual([0, expect.stringContaining("0 executed, 4 cached")])
    expect(remote.files("ac").length).toBeGreaterThanOrEqual(4)
  })
})

describe("tessera run with a remote store that is not there", { timeout }, () => {
  it("warns once and computes", async () => {
    const cwd = folder()
    const key = newKey(cwd)
    const env = { TESSERA_REMOTE: `http://127.0.0.1:${await freePort()}`, TESSERA_TRUSTED_KEYS: key }
    const { code, stdout } = await tessera(["run", squares, "--json"], { cwd, env })
    expect(code).toBe(0)
    const events = lines(stdout)
    expect(events.filter(({ _tag }) => _tag === "TaskCommitted").length).toBe(4)
    const warnings = events.filter(({ _tag }) => _tag === "Warning")
    expect(warnings).toEqual([
      expect.objectContaining({ detail: expect.stringContaining("cannot be reached") })
    ])
  })

  it("ends with 2 and what to do where a setting is wrong", async () => {
    const cwd = folder()
    const key = newKey(cwd)
    const { code, stderr } = await tessera(["run", squares], {
      cwd,
      env: { TESSERA_REMOTE: "cache", TESSERA_TRUSTED_KEYS: key }
    })
    expect([code, stderr]).toEqual([2, expect.stringContaining("TESSERA_REMOTE: is not an address")])
  })
})
