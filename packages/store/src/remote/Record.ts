/**
 * An action as a remote store keeps it: signed, and inside the message that Bazel caches expect of an action.
 */
import type { KeyObject } from "node:crypto"
import { Data, Either, Schema } from "effect"
import protobuf from "protobufjs/light.js"
import { Action } from "../Action.js"
import { type PublicKey, type Signer, verify } from "./Signature.js"

/** A blob that a record needs to be of use. */
export interface Needed {
  readonly digest: string
  readonly size: number
}

/** A record that is not believed. */
export class Distrusted extends Data.TaggedError("Distrusted")<{
  readonly reason: "Malformed" | "UnknownSigner" | "Signature" | "OtherKey"
  /** Who signed it, where that can be read. */
  readonly signer?: PublicKey
  readonly detail: string
}> {
  override get message() {
    return this.detail
  }
}

/**
 * The part of the Remote Execution API's `ActionResult` that is used: caches that look into records (bazel-remote does)
 * find the blobs it needs, and serve it only while they have all of them. The signed text is in `stdout_raw`.
 */
const digestMessage = new protobuf.Type("Digest")
  .add(new protobuf.Field("hash", 1, "string"))
  .add(new protobuf.Field("sizeBytes", 2, "int64"))
const fileMessage = new protobuf.Type("OutputFile")
  .add(new protobuf.Field("path", 1, "string"))
  .add(new protobuf.Field("digest", 2, "Digest"))
const resultMessage = new protobuf.Type("ActionResult")
  .add(new protobuf.Field("outputFiles", 2, "OutputFile", "repeated"))
  .add(new protobuf.Field("stdoutRaw", 5, "bytes"))
new protobuf.Root().add(digestMessage).add(fileMessage).add(resultMessage)

const Envelope = Schema.parseJson(
  Schema.Struct({
    signer: Schema.String,
    /** Base64, of the payload's bytes. */
    signature: Schema.String,
    /** JSON of an action. */
    payload: Schema.String
  })
)
const Payload = Schema.parseJson(Action)

const hex = (digest: string) => digest.replace(/^sha256:/, "")

/** @param needed the blobs of the action's outputs, the files of trees included. */
export const encode = (action: Action, needed: ReadonlyArray<Needed>, signer: Signer): Uint8Array => {
  const payload = Schema.encodeSync(Payload)(action)
  const envelope = Schema.encodeSync(Envelope)({
    signer: signer.publicKey,
    signature: signer.sign(payload),
    payload
  })
  return resultMessage
    .encode({
      outputFiles: needed.map(({ digest, size }) => ({
        path: hex(digest),
        digest: { hash: hex(digest), sizeBytes: size }
      })),
      stdoutRaw: Buffer.from(envelope)
    })
    .finish()
}

/** The action in a record, if one of the trusted keys signed it for this key. */
export const decode = (
  bytes: Uint8Array,
  key: string,
  trusted: ReadonlyMap<PublicKey, KeyObject>
): Either.Either<Action, Distrusted> =>
  Either.gen(function* () {
    const malformed = () => new Distrusted({ reason: "Malformed", detail: "is not a record of Tessera" })
    const message = yield* Either.try({
      try: () => resultMessage.decode(bytes) as protobuf.Message & { readonly stdoutRaw?: Uint8Array },
      catch: malformed
    })
    const text = Buffer.from(message.stdoutRaw ?? []).toString("utf8")
    const { signer, signature, payload } = yield* Either.mapLeft(
      Schema.decodeUnknownEither(Envelope)(text),
      malformed
    )
    const known = trusted.get(signer)
    if (known === undefined) {
      return yield* Either.left(
        new Distrusted({
          reason: "UnknownSigner",
          signer,
          detail: `is signed by ${signer}, which is not a trusted key`
        })
      )
    }
    if (!verify(known, payload, signature)) {
      return yield* Either.left(
        new Distrusted({
          reason: "Signature",
          signer,
          detail: `does not have the signature of ${signer} that it claims: it was changed`
        })
      )
    }
    const action = yield* Either.mapLeft(Schema.decodeUnknownEither(Payload)(payload), malformed)
    if (action.key !== key) {
      return yield* Either.left(
        new Distrusted({ reason: "OtherKey", signer, detail: `is the record of another key, ${action.key}` })
      )
    }
    return action
  })
