/** The remote store against a real nginx. */
import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { once } from "node:events"
import { createServer, type AddressInfo, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { canonicalJson, document, int32, sha256, table, tree, utf8 } from "@tessera/core"
import { Chunk, Effect, Either, Fiber, Layer, Option, Redacted, Schema, Stream } from "effect"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { type Action, type Artifact, FileStore, Store } from "../src/index.js"
import { generateKeys, type Options, RemoteStore } from "../src/remote/index.js"
import { freePort, missing, nginx, type Nginx } from "./Nginx.js"

const Words = table("Words/1", { word: utf8, n: int32 })
const Note = document("Note/1", Schema.Struct({ text: Schema.String }))
const Folder = tree("Folder/1")

const keys = generateKeys()
const others = generateKeys()
const keyOf = (stage: string): string =>
  Either.getOrThrow(
    Either.map(canonicalJson({ stage }, stage), (text) => sha256(`tessera.action.v1\0${text}`))
  )
const key = keyOf("s")

let root = ""
beforeEach(() => void (root = fs.mkdtempSync(join(tmpdir(), "remote-"))))
afterEach(() => fs.rmSync(root, { recursive: true, force: true }))

interface Used<A> {
  readonly value: A
  readonly warnings: ReadonlyArray<string>
  readonly closing: ReadonlyArray<string>
}

/** A machine: a folder of its own, a new process's memory each time it is used. */
const machine =
  (name: string, url: string, options: Partial<Options> = {}) =>
  async <A, E>(f: (store: typeof Store.Service) => Effect.Effect<A, E>): Promise<Used<A>> => {
    const closing: Array<string> = []
    const heard: Array<string> = []
    const layer = RemoteStore.layer({
      root: join(root, name),
      url,
      trustedKeys: [keys.publicKey],
      // How long it takes is no matter of these tests.
      onClosing: (detail) =>
        Effect.sync(() => void (detail.includes("still to be sent") || closing.push(detail))),
      ...options
    }).pipe(Layer.provide(NodeHttpClient.layerUndici))
    const value = await Effect.gen(function* () {
      const store = yield* Store
      const warnings = yield* store.warnings
      const listening = yield* Effect.forkScoped(
        Stream.runForEach(warnings, (detail) => Effect.sync(() => void heard.push(detail)))
      )
      const value = yield* f(store)
      // What was told before is heard before.
      yield* Effect.yieldNow().pipe(Effect.repeatN(20))
      yield* Fiber.interruptFork(listening)
      return value
    }).pipe(Effect.scoped, Effect.provide(layer), Effect.runPromise)
    return { value, warnings: heard, closing }
  }

const writes = { signingKey: Redacted.make(keys.pem) }
const action = (outputs: Readonly<Record<string, Artifact>>): Action => ({
  key,
  manifest: { stage: "s" },
  outputs,
  run: "r",
  node: "n",
  startedAt: "2026-01-01T00:00:00.000Z",
  millis: 1
})
const commit = (store: typeof Store.Service, text = "hello") =>
  Effect.gen(function* () {
    const words = yield* store.putTable(Words, Stream.make({ word: text, n: 1 }))
    const note = yield* store.putDocument(Note, { text })
    yield* store.putAction(action({ words, note }))
    return { words, note }
  })
const never = (): never => {
  throw new Error("there is no such output")
}
const read = (store: typeof Store.Service, artifact: Artifact) =>
  Effect.scoped(
    Effect.flatMap(store.open(Words, artifact), ({ rows }) =>
      Effect.map(Stream.runCollect(rows), Chunk.toReadonlyArray)
    )
  )
const look = (store: typeof Store.Service) => Effect.map(store.getAction(key), Option.isSome)

describe.skipIf(missing !== undefined)(
  `a remote store in nginx${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let remote: Nginx
    beforeAll(async () => void (remote = await nginx()))
    afterAll(() => remote.close())
    beforeEach(async () => {
      await remote.start()
    })
    afterEach(async () => {
      await remote.stop()
      fs.rmSync(join(remote.data, "tessera"), { recursive: true, force: true })
      fs.rmSync(join(remote.data, "..", "access.log"), { force: true })
    })
    const writer = (name = "writer", options: Partial<Options> = {}) =>
      machine(name, remote.url, { ...writes, ...options })
    const reader = (name = "reader", options: Partial<Options> = {}) => machine(name, remote.url, options)

    it("gives one machine what another has put, and fetches a blob when it is opened", async () => {
      const { value: put, warnings, closing } = await writer()((store) => commit(store))
      expect([warnings, closing]).toEqual([[], []])
      expect(remote.files("cas").length).toBe(2)
      const found = await reader()((store) => store.getAction(key))
      expect(Option.getOrThrow(found.value)).toEqual(action(put))
      expect(remote.requests().filter((request) => request.startsWith("GET /tessera/cas"))).toEqual([])

      const opened = await reader()((store) => read(store, put.words))
      expect(opened).toEqual({ value: [{ word: "hello", n: 1 }], warnings: [], closing: [] })
      const fetched = remote.requests().filter((request) => request.startsWith("GET /tessera/cas"))
      expect(fetched).toEqual([`GET /tessera/cas/${put.words.digest.slice(7)} 200`])
    })

    it("is not asked again for what is known, and is not needed for it", async () => {
      const { value: put } = await writer()((store) => commit(store))
      await reader()((store) => Effect.zipRight(store.getAction(key), store.fetch(put.words)))
      await remote.stop()
      const { value, warnings } = await reader()((store) => Effect.all([look(store), read(store, put.words)]))
      expect([value, warnings]).toEqual([[true, [{ word: "hello", n: 1 }]], []])
    })

    it("shares trees with their files", async () => {
      const folder = join(root, "folder")
      fs.mkdirSync(join(folder, "bin"), { recursive: true })
      fs.writeFileSync(join(folder, "README"), "read me")
      fs.writeFileSync(join(folder, "bin/run"), "#!/bin/sh\n", { mode: 0o755 })
      fs.writeFileSync(join(folder, "empty"), "")
      const { value: put } = await writer()((store) =>
        Effect.tap(store.putFolder(Folder.id, folder), (files) => store.putAction(action({ files })))
      )
      const { value: path, warnings } = await reader()((store) =>
        Effect.zipRight(
          store.getAction(key),
          Effect.scoped(Effect.map(store.open(Folder, put), (opened) => opened.path))
        )
      )
      expect(warnings).toEqual([])
      expect(fs.readdirSync(path, { recursive: true, encoding: "utf8" }).sort()).toEqual([
        "README",
        "bin",
        "bin/run",
        "empty"
      ])
      expect(fs.readFileSync(join(path, "README"), "utf8")).toBe("read me")
      expect(fs.statSync(join(path, "bin/run")).mode & 0o111).not.toBe(0)

      // Without one file of it the tree is of no use to a third machine.
      const [readme] = remote.files("cas").filter((name) => fs.statSync(remote.file("cas", name)).size === 7)
      fs.rmSync(remote.file("cas", readme ?? ""))
      const third = await reader("third")(look)
      expect(third).toMatchObject({
        value: false,
        warnings: [expect.stringContaining("does not have sha256:")]
      })
    })

    describe("a damaged blob", () => {
      const flip = (digest: string) => {
        const file = remote.file("cas", digest)
        const bytes = fs.readFileSync(file)
        bytes[9] = (bytes[9] ?? 0) ^ 1
        fs.writeFileSync(file, bytes)
      }

      it("never enters the store, makes its result absent, and is put right by who computes it again", async () => {
        const { value: put } = await writer()((store) => commit(store))
        flip(put.words.digest)
        const again = writer("reader")
        const { value, warnings } = await again((store) =>
          Effect.gen(function* () {
            const before = yield* look(store)
            const error = yield* Effect.flip(store.fetch(put.words))
            const after = yield* look(store)
            yield* commit(store)
            return {
              before,
              error: error.reason,
              message: error.message,
              after,
              rows: yield* read(store, put.words)
            }
          })
        )
        expect(value).toMatchObject({
          before: true,
          error: "NotFound",
          message: expect.stringContaining("run again"),
          after: false,
          rows: [{ word: "hello", n: 1 }]
        })
        expect(warnings[0]).toContain(`blob ${put.words.digest} has other bytes`)
        const third = await reader("third")((store) => Effect.zipRight(look(store), read(store, put.words)))
        expect(third).toMatchObject({ value: [{ word: "hello", n: 1 }], warnings: [] })
      })

      it("of another size is known without fetching it", async () => {
        const { value: put } = await writer()((store) => commit(store))
        fs.appendFileSync(remote.file("cas", put.note.digest), "x")
        const found = await reader()(look)
        expect(found).toMatchObject({
          value: false,
          warnings: [expect.stringContaining(`has another size of ${put.note.digest}`)]
        })
      })

      it("on this machine is fetched again, aloud", async () => {
        const { value: put } = await writer()((store) => commit(store))
        await reader()((store) => Effect.zipRight(look(store), read(store, put.words)))
        const hex = put.words.digest.slice(7)
        const own = join(root, "reader/blobs", hex.slice(0, 2), hex.slice(2))
        fs.chmodSync(own, 0o644)
        fs.writeFileSync(own, "x")
        const { value, warnings } = await reader()((store) =>
          Effect.zipWith(look(store), read(store, put.words), (found, rows) => ({ found, rows }))
        )
        expect(value).toEqual({ found: true, rows: [{ word: "hello", n: 1 }] })
        expect(warnings).toEqual([expect.stringMatching(/damaged .*fetched again/)])
      })
    })

    describe("a record", () => {
      const record = () => remote.file("ac", key)
      const told = async (options: Partial<Options> = {}) => {
        const { value, warnings } = await reader("reader", options)(look)
        return { found: value, warnings, kept: fs.existsSync(join(root, "reader/actions")) }
      }
      const refused = (why: string) => ({
        found: false,
        warnings: [expect.stringContaining(why)],
        kept: false
      })

      it("of a signer who is not trusted counts as absent", async () => {
        await writer()((store) => commit(store))
        expect(await told({ trustedKeys: [others.publicKey] })).toEqual(
          refused(`is signed by ${keys.publicKey}, which is not a trusted key`)
        )
      })

      it("that was changed counts as absent", async () => {
        await writer()((store) => commit(store))
        const text = fs.readFileSync(record(), "latin1")
        const changed = text.replace("2026-01-01", "2026-01-02")
        expect(changed).not.toBe(text)
        fs.writeFileSync(record(), changed, "latin1")
        expect(await told()).toEqual(refused("does not have the signature"))
      })

      it("of another key counts as absent", async () => {
        await writer()((store) => commit(store))
        const other = `sha256:${"cd".repeat(32)}`
        fs.renameSync(record(), remote.file("ac", other))
        const { value, warnings } = await reader()((store) =>
          Effect.map(store.getAction(other), Option.isSome)
        )
        expect([value, warnings]).toEqual([false, [expect.stringContaining("record of another key")]])
      })

      it.each(["", "no record", "\u0000", '{"key":"x"}'])("that is %j counts as absent", async (text) => {
        await writer()((store) => commit(store))
        fs.writeFileSync(record(), text)
        expect(await told()).toEqual(refused("is not a record of Tessera"))
      })
    })

    it("that is not written without a signing key takes nothing", async () => {
      await reader()((store) => commit(store))
      expect(remote.files("cas")).toEqual([])
    })

    it("keeps two writers of one key apart", async () => {
      const [a, b] = await Promise.all([
        writer("a")((store) => commit(store)),
        writer("b")((store) => commit(store))
      ])
      expect([...a.warnings, ...b.warnings]).toEqual([])
      expect(a.value).toEqual(b.value)
      const { value } = await reader()((store) => Effect.zipRight(look(store), read(store, a.value.words)))
      expect(value).toEqual([{ word: "hello", n: 1 }])
    })

    describe("that refuses uploads", () => {
      it("is read on, with one warning, and gets the results when it takes them", async () => {
        await writer()((store) => commit(store))
        await remote.stop()
        await remote.start({ readOnly: true })
        const { value, warnings, closing } = await writer("second")((store) =>
          Effect.gen(function* () {
            const refusal = yield* store.warnings
            const note = yield* store.putDocument(Note, { text: "new" })
            for (const stage of ["1", "2", "3"])
              yield* store.putAction({ ...action({ note }), key: keyOf(stage), manifest: { stage } })
            yield* Stream.runHead(refusal)
            return yield* look(store)
          }).pipe(Effect.scoped)
        )
        expect(value).toBe(true)
        expect(warnings).toEqual([
          expect.stringMatching(/answers 403 to an upload.*TESSERA_REMOTE_MODE=read/)
        ])
        expect(closing).toEqual([expect.stringMatching(/results not sent: 3 .*next run/)])
        expect(remote.files("ac").length).toBe(1)

        await remote.stop()
        await remote.start()
        const next = await writer("second")(() => Effect.void)
        expect([next.warnings, next.closing]).toEqual([[], []])
        expect(remote.files("ac").length).toBe(4)
      })
    })

    describe("that goes away", () => {
      it("is told once, and work goes on", async () => {
        await remote.stop()
        const { value, warnings, closing } = await writer()((store) =>
          Effect.gen(function* () {
            const before = yield* Effect.forEach(["1", "2", "3"], (last) =>
              store.getAction(key.slice(0, -1) + last)
            )
            yield* commit(store)
            return [before.every(Option.isNone), yield* look(store)]
          })
        )
        expect(value).toEqual([true, true])
        expect(warnings).toEqual([expect.stringMatching(/cannot be reached .*ECONNREFUSED.*work goes on/)])
        expect(closing).toEqual([expect.stringContaining("results not sent: 1")])

        await remote.start()
        await writer()(() => Effect.void)
        expect((await reader()(look)).value).toBe(true)
      })

      it("between lookup and reading makes its results absent", async () => {
        const { value: put } = await writer()((store) => commit(store))
        const { value, warnings } = await reader()((store) =>
          Effect.gen(function* () {
            const before = yield* look(store)
            yield* Effect.promise(() => remote.stop("SIGKILL"))
            const error = yield* Effect.flip(store.fetch(put.words))
            return [before, error.reason, yield* look(store)]
          })
        )
        expect(value).toEqual([true, "NotFound", false])
        expect(warnings).toEqual([expect.stringContaining("cannot be reached")])
      })
    })

    it("streams a large blob both ways", async () => {
      const folder = join(root, "large")
      fs.mkdirSync(folder)
      const part = Buffer.alloc(1 << 20)
      const file = fs.openSync(join(folder, "weights"), "w")
      for (let i = 0; i < 400; i++) {
        part.writeUInt32LE(i)
        fs.writeSync(file, part)
      }
      fs.closeSync(file)
      let most = 0
      const before = process.memoryUsage().rss
      const sampling = setInterval(() => (most = Math.max(most, process.memoryUsage().rss - before)), 5)
      const { value: put } = await writer()((store) =>
        Effect.tap(store.putFolder(Folder.id, folder), (files) => store.putAction(action({ files })))
      )
      const { value, warnings } = await reader()((store) => Effect.zipRight(look(store), store.fetch(put)))
      clearInterval(sampling)
      expect([value, warnings]).toEqual([undefined, []])
      const [weights] = remote
        .files("cas")
        .filter((name) => fs.statSync(remote.file("cas", name)).size === 400 << 20)
      expect(
        fs.statSync(join(root, "reader/blobs", weights?.slice(0, 2) ?? "", weights?.slice(2) ?? "")).size
      ).toBe(400 << 20)
      // A process that held it would have grown by all of it; most of this is what the garbage collector has not looked
      // at yet.
      expect(most).toBeLessThan(300 << 20)
    })

    it("holds nothing that is not whole when an upload is killed, and the next run ends it", async () => {
      const folder = join(root, "large")
      fs.mkdirSync(folder)
      fs.writeFileSync(join(folder, "weights"), Buffer.alloc(100 << 20, "weights"))
      fs.writeFileSync(join(folder, "config"), "{}")
      const child = spawn(
        process.execPath,
        [
          "--import",
          "tsx",
          join(import.meta.dirname, "fixtures/upload.ts"),
          join(root, "writer"),
          remote.url,
          key,
          folder
        ],
        { env: { ...process.env, SIGNING_KEY: keys.pem }, stdio: ["ignore", "ignore", "inherit"] }
      )
      const ended = once(child, "exit")
      // nginx writes an upload aside first: the folder tells when one begins.
      const watcher = fs.watch(remote.partial)
      await once(watcher, "change")
      child.kill("SIGKILL")
      watcher.close()
      expect(await ended).toEqual([null, "SIGKILL"])
      expect(remote.files("ac")).toEqual([])
      for (const name of remote.files("cas"))
        expect(
          createHash("sha256")
            .update(fs.readFileSync(remote.file("cas", name)))
            .digest("hex")
        ).toBe(name)
      expect((await reader()(look)).value).toBe(false)

      const next = await writer()(() => Effect.void)
      expect(next.warnings).toEqual([])
      const found = await reader()((store) =>
        Effect.tap(store.getAction(key), (action) =>
          store.fetch(Option.getOrThrow(action).outputs["files"] ?? never())
        )
      )
      expect(Option.isSome(found.value)).toBe(true)
    })

    it("does not send what is read in place, unless it is asked to", async () => {
      const model = join(root, "model")
      fs.mkdirSync(model)
      fs.writeFileSync(join(model, "weights"), "many numbers")
      const publish = (store: typeof Store.Service) =>
        Effect.flatMap(store.adoptFolder(Folder.id, model), (files) => store.putAction(action({ files })))
      const { warnings } = await writer()(publish)
      expect(remote.files("ac")).toEqual([])
      expect(warnings).toEqual([])
      await writer("other", { external: true })(publish)
      expect(remote.files("ac").length).toBe(1)
      expect((await reader()((store) => Effect.map(store.getAction(key), Option.isSome))).value).toBe(true)
    })
  }
)

describe("a remote store", () => {
  it("that accepts and never answers holds nobody up for long", async () => {
    const sockets = new Set<Socket>()
    let requests = 0
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on("data", () => void requests++).on("error", () => {})
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    const asked = machine("m", `http://127.0.0.1:${port}`, { ...writes, timeout: "200 millis" })
    const { value, warnings, closing } = await asked((store) =>
      Effect.gen(function* () {
        for (let i = 0; i < 50; i++) yield* store.getAction(`sha256:${String(i).padStart(64, "0")}`)
        yield* commit(store)
        return yield* look(store)
      })
    )
    expect(value).toBe(true)
    expect(warnings).toEqual([expect.stringMatching(/has been silent for 200ms.*work goes on/)])
    expect(closing).toEqual([expect.stringContaining("results not sent: 1")])
    // One waited; the others were told at once.
    expect(requests).toBe(1)
    for (const socket of sockets) socket.destroy()
    server.close()
  })

  it("is refused with what to do where its settings are wrong", async () => {
    const url = `http://127.0.0.1:${await freePort()}`
    const failing = (options: Partial<Options>) =>
      Effect.runPromise(
        Effect.flip(
          Effect.provide(
            Store,
            RemoteStore.layer({ root: join(root, "m"), url, trustedKeys: [keys.publicKey], ...options }).pipe(
              Layer.provide(NodeHttpClient.layerUndici)
            )
          )
        )
      )
    const cases: ReadonlyArray<readonly [Partial<Options>, string]> = [
      [{ url: "cache.example" }, "its address is no URL"],
      [{ url: "ftp://cache.example" }, "not an address of the web"],
      [{ trustedKeys: [] }, "without a trusted key"],
      [{ trustedKeys: ["ed25519:short"] }, "is not a public key"],
      [{ mode: "read-write" }, "without a signing key"],
      [{ signingKey: Redacted.make("secret") }, "is not a private key in PEM"]
    ]
    for (const [options, expected] of cases) {
      const error = await failing(options)
      expect([error.reason, error.message]).toEqual(["Invalid", expect.stringContaining(expected)])
      expect(error.message).not.toContain("secret")
    }
  })

  it("leaves the file store's actions as they are", async () => {
    const dead = machine("m", `http://127.0.0.1:${await freePort()}`)
    const { value } = await dead((store) => commit(store))
    const found = await Effect.runPromise(
      Effect.provide(
        Effect.flatMap(Store, (store) => Effect.zip(look(store), read(store, value.words))),
        FileStore.layer({ root: join(root, "m") })
      )
    )
    expect(found).toEqual([true, [{ word: "hello", n: 1 }]])
  })
})
