/**
 * The remote store keeps the store's contract, whether its remote answers or not. What a remote changes, and what its own
 * tests show, is that a result removed here may be had from there again.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { generateKeys, type Options, RemoteStore } from "@tessera/store/remote"
import { testStore } from "@tessera/testing"
import { Effect, Layer, Redacted } from "effect"
import { afterAll, beforeAll, describe } from "vitest"
import { freePort, missing, nginx, type Nginx } from "../../packages/store/test/Nginx.js"

const keys = generateKeys()

const fresh = (remote: () => Promise<Omit<Options, "root">>) =>
  Effect.zipWith(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "store-"))),
      (root) => Effect.sync(() => rmSync(root, { recursive: true, force: true }))
    ),
    Effect.promise(remote),
    (root, options) => RemoteStore.layer({ root, ...options }).pipe(Layer.provide(NodeHttpClient.layerUndici))
  )

describe.skipIf(missing !== undefined)(missing ?? "with nginx", () => {
  let remote: Nginx
  beforeAll(async () => void (remote = await nginx()))
  afterAll(() => remote.close())
  testStore("in front of a remote that is read", {
    fresh: fresh(async () => ({ url: remote.url, trustedKeys: [keys.publicKey] }))
  })
})

testStore("in front of a remote that cannot be reached", {
  fresh: fresh(async () => ({
    url: `http://127.0.0.1:${await freePort()}`,
    signingKey: Redacted.make(keys.pem),
    onClosing: () => Effect.void
  }))
})
