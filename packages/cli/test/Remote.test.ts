import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { generateKeys } from "@tessera/store/remote"
import { ConfigProvider, Duration, Effect, Option, Redacted } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { settings } from "../src/Remote.js"

const [ci, alice] = [generateKeys(), generateKeys()]
const url = "https://cache.example/tessera"
const folder = mkdtempSync(join(tmpdir(), "tessera-settings-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text)
  return join(folder, name)
}

type Variables = Readonly<Record<string, string>>
const reading = (variables: Variables, mode: "read" | "read-write" = "read-write") =>
  Effect.withConfigProvider(settings(mode), ConfigProvider.fromMap(new Map(Object.entries(variables))))
const read = async (variables: Variables, mode?: "read" | "read-write") =>
  Option.getOrThrow(await Effect.runPromise(reading(variables, mode)))
const wrong = (variables: Variables) => Effect.runPromise(Effect.flip(reading(variables)))

describe("the environment", () => {
  it("names no remote unless TESSERA_REMOTE does", async () => {
    const none = await Effect.runPromise(reading({ TESSERA_SIGNING_KEY: "nowhere" }))
    expect(none).toEqual(Option.none())
  })

  it("that trusts others reads only", async () => {
    const found = await read({ TESSERA_REMOTE: url, TESSERA_TRUSTED_KEYS: ci.publicKey })
    expect(found).toEqual({ url, mode: "read", trustedKeys: [ci.publicKey], timeout: Duration.seconds(30) })
  })

  it("with a signing key writes too, where the verb does and the mode lets it", async () => {
    const variables = { TESSERA_REMOTE: url, TESSERA_SIGNING_KEY: file("ci.key", ci.pem) }
    const found = await read(variables)
    expect([found.mode, Redacted.value(found.signingKey ?? Redacted.make(""))]).toEqual([
      "read-write",
      ci.pem
    ])
    expect((await read({ ...variables, TESSERA_SIGNING_KEY: ci.pem })).signingKey).toEqual(found.signingKey)
    expect((await read(variables, "read")).mode).toBe("read")
    expect((await read({ ...variables, TESSERA_REMOTE_MODE: "read" })).mode).toBe("read")
  })

  it("lists trusted keys, and files of them", async () => {
    const trusted = file("trusted", `# Who makes results\n${alice.publicKey} alice\n\n`)
    const found = await read({ TESSERA_REMOTE: url, TESSERA_TRUSTED_KEYS: `${ci.publicKey}, ${trusted}` })
    expect(found.trustedKeys).toEqual([ci.publicKey, alice.publicKey])
  })

  it("gives headers and a time", async () => {
    const found = await read({
      TESSERA_REMOTE: url,
      TESSERA_TRUSTED_KEYS: ci.publicKey,
      TESSERA_REMOTE_HEADER: "Authorization: Bearer sesame\nX-Team: a:b",
      TESSERA_REMOTE_TIMEOUT: "5 seconds"
    })
    expect(Object.entries(found.headers ?? {}).map(([name, value]) => [name, Redacted.value(value)])).toEqual(
      [
        ["authorization", "Bearer sesame"],
        ["x-team", "a:b"]
      ]
    )
    expect(found.timeout).toEqual(Duration.seconds(5))
  })

  const good = { TESSERA_REMOTE: url, TESSERA_TRUSTED_KEYS: ci.publicKey }
  it.each<[string, Variables, RegExp]>([
    ["TESSERA_REMOTE", { TESSERA_REMOTE: "cache" }, /is not an address/],
    ["TESSERA_REMOTE", { TESSERA_REMOTE: "ftp://cache.example" }, /is not an address/],
    ["TESSERA_REMOTE", { TESSERA_TRUSTED_KEYS: "" }, /TESSERA_TRUSTED_KEYS/],
    ["TESSERA_TRUSTED_KEYS", { TESSERA_TRUSTED_KEYS: "ed25519:no" }, /is not a public key/],
    ["TESSERA_TRUSTED_KEYS", { TESSERA_TRUSTED_KEYS: "nowhere" }, /neither a key nor a file/],
    ["TESSERA_REMOTE_MODE", { TESSERA_REMOTE_MODE: "write" }, /read-write/],
    ["TESSERA_REMOTE_MODE", { TESSERA_REMOTE_MODE: "read-write" }, /TESSERA_SIGNING_KEY names no key/],
    ["TESSERA_SIGNING_KEY", { TESSERA_SIGNING_KEY: "nowhere" }, /neither a key nor a file/],
    ["TESSERA_SIGNING_KEY", { TESSERA_SIGNING_KEY: file("no.key", "sesame") }, /is not a private key/],
    ["TESSERA_REMOTE_HEADER", { TESSERA_REMOTE_HEADER: "sesame" }, /is not a header/],
    ["TESSERA_REMOTE_TIMEOUT", { TESSERA_REMOTE_TIMEOUT: "soon" }, /./]
  ])("is told what is wrong with %s: %j", async (where, variables, expected) => {
    const error = await wrong({ ...good, ...variables })
    expect(error).toMatchObject({ _tag: "CliError", where, detail: expect.stringMatching(expected) })
    expect(error.message).not.toContain("sesame")
  })
})
