/** Runs on machines that share a remote store: a real nginx. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { run, type RunEvent, type RunOptions } from "@tessera/engine"
import { generateKeys, RemoteStore } from "@tessera/store/remote"
import { Effect, Layer, Redacted } from "effect"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { ran, sums } from "../../packages/engine/test/stages.js"
import { missing, nginx, type Nginx } from "../../packages/store/test/Nginx.js"

const keys = generateKeys()

describe.skipIf(missing !== undefined)(missing ?? "a run on a machine with a remote store", () => {
  let remote: Nginx
  let root = ""
  beforeEach(async () => {
    remote = await nginx()
    root = mkdtempSync(join(tmpdir(), "tessera-remote-"))
  })
  afterEach(async () => {
    await remote.close()
    rmSync(root, { recursive: true, force: true })
  })

  const machine = async (
    name: string,
    options: RunOptions & { readonly writes?: boolean; readonly when?: (event: RunEvent) => Promise<void> }
  ) => {
    const { writes = false, when, ...rest } = options
    ran.length = 0
    const events: Array<RunEvent> = []
    const onEvent = (event: RunEvent) =>
      Effect.promise(async () => {
        events.push(event)
        await when?.(event)
      })
    const layer = RemoteStore.layer({
      root: join(root, name),
      url: remote.url,
      trustedKeys: [keys.publicKey],
      ...(writes ? { signingKey: Redacted.make(keys.pem) } : {}),
      onClosing: () => Effect.void
    }).pipe(Layer.provide(NodeHttpClient.layerUndici))
    const result = await Effect.runPromise(Effect.provide(run(sums, { ...rest, onEvent }), layer))
    const warnings = events.flatMap((event) => (event._tag === "Warning" ? [event.detail] : []))
    return { ...result, ran: [...ran].sort(), warnings }
  }
  const damageAll = () => {
    for (const name of remote.files("cas")) {
      const file = remote.file("cas", name)
      const bytes = readFileSync(file)
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
      writeFileSync(file, bytes)
    }
  }
  const fetched = () => remote.requests().filter((request) => /^GET \S*\/cas\//.test(request))
  const everything = ["scale a", "scale b", "scale c", "source", "total"]
  /** A change of the last stage only: what it reads is cached. */
  const changed: RunOptions = { set: { total: { note: "changed" } } }

  it("executes nothing that another machine has, and fetches what it is asked for", async () => {
    const first = await machine("first", { writes: true })
    expect(first.ran).toEqual(everything)
    const second = await machine("second", { targets: ["total"] })
    expect(second).toMatchObject({
      ran: [],
      executed: 0,
      warnings: [],
      targets: { total: first.targets["total"] }
    })
    expect(fetched().length).toBe(1)

    // Known by now, remote or not.
    await remote.stop()
    expect(await machine("second", { targets: ["total"] })).toMatchObject({ executed: 0, warnings: [] })
  })

  it("fetches what a changed stage reads, and computes only that stage", async () => {
    await machine("first", { writes: true })
    const second = await machine("second", { targets: ["total"], ...changed })
    expect([second.ran, second.executed, second.warnings]).toEqual([["total"], 1, []])
    expect(fetched().length).toBe(1)
  })

  it("goes on without a remote that was never there", async () => {
    await remote.stop()
    const alone = await machine("alone", { writes: true })
    expect(alone.ran).toEqual(everything)
    expect(alone.warnings).toEqual([expect.stringContaining("cannot be reached")])
    await remote.start()
    // What was not sent then is sent now, and serves the next machine.
    await machine("alone", { writes: true })
    expect(await machine("next", {})).toMatchObject({ executed: 0, warnings: [] })
  })

  it("computes what it counted on when the remote is killed after it was asked", async () => {
    const first = await machine("first", { writes: true })
    const killed = await machine("second", {
      ...changed,
      when: async (event) => {
        if (event._tag === "TaskCached" && event.node === "scale") await remote.stop("SIGKILL")
      }
    })
    expect(killed.ran).toEqual(everything)
    expect(killed.executed).toBe(5)
    expect(killed.cached).toBe(0)
    expect(killed.targets["scaled"]).toEqual(first.targets["scaled"])
    expect(killed.warnings).toEqual([expect.stringContaining("cannot be reached")])
  })

  it("computes what is damaged there, and puts it right", async () => {
    const first = await machine("first", { writes: true })
    damageAll()
    const second = await machine("second", { writes: true, ...changed })
    expect(second.ran).toEqual(everything)
    expect(second.targets["scaled"]).toEqual(first.targets["scaled"])
    expect(second.warnings.length).toBeGreaterThan(0)
    for (const warning of second.warnings) expect(warning).toMatch(/has other bytes there/)
    const third = await machine("third", changed)
    expect(third).toMatchObject({ executed: 0, warnings: [], targets: second.targets })
  })
})
