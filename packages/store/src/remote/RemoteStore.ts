/**
 * A store in a folder in front of a remote one that many machines share. Work never waits for the remote to come back:
 * what it cannot give is computed here.
 */
import type { KeyObject } from "node:crypto"
import { join } from "node:path"
import { sha256 } from "@tessera/core"
import type { HttpClient } from "@effect/platform"
import { Duration, Effect, Either, Layer, Option, PubSub, Redacted, type Scope } from "effect"
import type { Action, Artifact } from "../Action.js"
import { StoreError } from "../Errors.js"
import * as FileStore from "../FileStore.js"
import { Store } from "../Store.js"
import * as Trees from "../Trees.js"
import * as Circuit from "./Circuit.js"
import * as Elsewhere from "./Elsewhere.js"
import * as Protocol from "./Protocol.js"
import * as Record from "./Record.js"
import * as Signature from "./Signature.js"
import * as Uploads from "./Uploads.js"

export interface Options extends FileStore.Options {
  /** `http://` or `https://`; a user and a password in it are sent as basic authentication, and never shown. */
  readonly url: string
  /** Default: `read-write` where a signing key is given. */
  readonly mode?: "read" | "read-write"
  /** Whose records are believed, besides one's own. */
  readonly trustedKeys?: ReadonlyArray<Signature.PublicKey>
  /** An Ed25519 private key in PEM. */
  readonly signingKey?: Redacted.Redacted
  /** Sent with each request, such as `Authorization`. */
  readonly headers?: Readonly<Record<string, Redacted.Redacted>>
  /** How long nothing may happen before the remote counts as silent; default 30 seconds. */
  readonly timeout?: Duration.DurationInput
  /** Whether results that hold files read in place (of a model folder) are sent, with those files; default no. */
  readonly external?: boolean
  /** How long closing waits for results that are still to be sent; default 10 minutes. */
  readonly wait?: Duration.DurationInput
  /** Hears what is to be told while the store closes; default: a log line. */
  readonly onClosing?: (detail: string) => Effect.Effect<void>
}

const hex = (digest: string) => digest.replace(/^sha256:/, "")

const invalid = (path: string, detail: string) => new StoreError({ reason: "Invalid", path, detail })

const settings = (options: Options) =>
  Either.gen(function* () {
    const url = yield* Either.try({
      try: () => new URL(options.url),
      catch: () => invalid("remote", "its address is no URL; it looks like https://cache.example/tessera")
    })
    const shown = `${url.origin}${url.pathname}`.replace(/\/+$/, "")
    if (url.protocol !== "http:" && url.protocol !== "https:")
      return yield* Either.left(invalid(shown, "is not an address of the web (http or https)"))
    const user = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
    url.username = url.password = ""
    const signer =
      options.signingKey === undefined
        ? undefined
        : yield* Signature.signer(Redacted.value(options.signingKey))
    const trusted = new Map<Signature.PublicKey, KeyObject>()
    for (const text of [...(options.trustedKeys ?? []), ...(signer === undefined ? [] : [signer.publicKey])])
      trusted.set(text, yield* Signature.publicKey(text))
    const mode = options.mode ?? (signer === undefined ? "read" : "read-write")
    if (mode === "read-write" && signer === undefined)
      return yield* Either.left(
        invalid(shown, "cannot be written without a signing key; give one, or read only")
      )
    if (trusted.size === 0)
      return yield* Either.left(
        invalid(shown, "is of no use without a trusted key: no record would be believed")
      )
    const headers = {
      ...(user === ":"
        ? {}
        : { authorization: Redacted.make(`Basic ${Buffer.from(user).toString("base64")}`) }),
      ...options.headers
    }
    return { url, shown, trusted, headers, signer: mode === "read" ? undefined : signer }
  })

const make = (
  options: Options
): Effect.Effect<typeof Store.Service, StoreError, Scope.Scope | HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const { url, shown, trusted, headers, signer } = yield* settings(options)
    const parts = yield* FileStore.parts(options)
    const { layout, blobs: own, warnings } = parts
    const warn = (detail: string) => Effect.asVoid(PubSub.publish(warnings, `remote ${shown}: ${detail}`))

    const told = new Set<string>()
    const warnOnce = (what: string, detail: string) =>
      Effect.suspend(() => {
        if (told.has(what)) return Effect.void
        told.add(what)
        return warn(detail)
      })
    const circuit = (reasons: ReadonlyArray<Protocol.RemoteError["reason"]>, goesOn: string) =>
      Circuit.make({
        trips: ({ reason }) => reasons.includes(reason),
        onBroken: ({ reason, message }) => warnOnce(reason, `${message}; ${goesOn}`),
        onMended: warnOnce("mended", "works again")
      })
    const reading = circuit(["Unreachable", "Silent", "Refused", "Broken"], "work goes on without it")
    const writing = circuit(["NotWritten"], "results stay on this machine")
    const protocol = yield* Protocol.make({
      url,
      headers,
      timeout: Duration.decode(options.timeout ?? "30 seconds")
    })
    // What is known of one remote says nothing about another.
    const folder = join(layout.root, "remote", hex(sha256(shown)).slice(0, 16))
    const elsewhere = Elsewhere.make({ layout, own, folder, protocol, circuit: reading, warn })
    const local = yield* FileStore.assemble({ ...parts, blobs: elsewhere.blobs })

    /** The blobs of an artifact that are not on this machine, if the remote has them all. */
    const promised = ({ kind, digest, size }: Artifact) =>
      Effect.gen(function* () {
        const absent: Array<string> = []
        const look = (blob: string, expected: number) =>
          Effect.gen(function* () {
            if (yield* Effect.isSuccess(own.here(blob))) return true
            // Told when it was lost.
            if (elsewhere.lost.has(blob)) return false
            const there = yield* reading.through(protocol.head("cas", hex(blob)))
            if (Option.isSome(there) && (there.value.size ?? expected) === expected) {
              absent.push(blob)
              return true
            }
            yield* warn(
              `${Option.isNone(there) ? "does not have" : "has another size of"} ${blob}, which a record names; what made it is computed again`
            )
            return false
          })
        if (kind !== "tree") return (yield* look(digest, size)) ? Option.some(absent) : Option.none()
        // What a tree holds is only known from its manifest, which is small.
        yield* elsewhere.fetch(digest)
        const { files } = yield* Trees.manifest(own, digest)
        const found = yield* Effect.forEach(files, (file) => look(file.digest, file.size), { concurrency: 8 })
        return found.every(Boolean) ? Option.some(absent) : Option.none()
      })

    /** The remote's record of a key, with all that it names noted as being there. */
    const lookUp = (key: string): Effect.Effect<Option.Option<Action>, StoreError> =>
      Effect.gen(function* () {
        const bytes = yield* reading.through(protocol.get("ac", hex(key)))
        if (Option.isNone(bytes)) return Option.none()
        const decoded = Record.decode(bytes.value, key, trusted)
        if (Either.isLeft(decoded)) {
          const { reason, signer: by, message } = decoded.left
          const detail = `the record of ${key} ${message}; it counts as absent`
          yield* reason === "UnknownSigner"
            ? warnOnce(
                `${reason} ${by}`,
                `${detail}, like all of this signer. If you trust it, add it to the trusted keys (TESSERA_TRUSTED_KEYS)`
              )
            : warn(detail)
          return Option.none()
        }
        const action = decoded.right
        const found = Option.all(
          yield* Effect.forEach(Object.values(action.outputs), promised, { concurrency: 4 })
        )
        if (Option.isNone(found)) return Option.none()
        yield* Effect.forEach(found.value.flat(), elsewhere.note, { concurrency: 8, discard: true })
        yield* local.putAction(action)
        return Option.some(action)
      }).pipe(
        // The circuit has told.
        Effect.catchTag("RemoteError", () => Effect.succeedNone),
        // A manifest that could not be fetched, or a folder that can be read only: as if the remote had nothing.
        Effect.catchIf(
          ({ reason }) => ["NotFound", "Corrupt", "ReadOnly", "Permission"].includes(reason),
          () => Effect.succeedNone
        )
      )

    const uploads =
      signer === undefined
        ? undefined
        : yield* Uploads.make({
            layout,
            own,
            folder,
            elsewhere,
            protocol,
            reading,
            writing,
            signer,
            warn,
            external: options.external ?? false,
            wait: Duration.decode(options.wait ?? "10 minutes"),
            onClosing: (detail) => (options.onClosing ?? Effect.logInfo)(`remote ${shown}: ${detail}`),
            actionOf: local.getAction
          })

    return Store.of({
      ...local,
      // Of this machine's blobs: what is damaged here is told, though it can be had again.
      maintenance: { ...local.maintenance, verify: own.verify },
      getAction: (key, onDamaged = () => Effect.void) =>
        Effect.gen(function* () {
          let why: string | undefined
          const known = yield* local.getAction(key, (said) => Effect.sync(() => void (why = said)))
          if (Option.isSome(known)) return known
          const remote = yield* lookUp(key)
          if (Option.isNone(remote) && why !== undefined) yield* onDamaged(why)
          return remote
        }),
      putAction: (action) =>
        uploads === undefined
          ? local.putAction(action)
          : Effect.all([uploads.note(action.key), local.putAction(action), uploads.send(action)], {
              discard: true
            })
    })
  })

/** A store in a folder in front of a remote one. */
export const layer = (options: Options): Layer.Layer<Store, StoreError, HttpClient.HttpClient> =>
  Layer.scoped(Store, make(options))
