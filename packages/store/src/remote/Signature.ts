/**
 * Who vouches for a record: Ed25519 keys, and signatures of texts.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
  verify as verifyBytes
} from "node:crypto"
import { Either } from "effect"
import { StoreError } from "../Errors.js"

/** `ed25519:` and the 32 bytes of the key in base64url. */
export type PublicKey = string

const FORM = /^ed25519:([\w-]{43})$/

// What is signed here can be mistaken for nothing that the same key may sign elsewhere.
const message = (text: string): Buffer => Buffer.from(`tessera action 1\n${text}`)

const nameOf = (key: KeyObject): PublicKey => `ed25519:${key.export({ format: "jwk" }).x ?? ""}`

/** Reads a public key. */
export const publicKey = (text: PublicKey): Either.Either<KeyObject, StoreError> => {
  const wrong = (cause?: unknown) =>
    new StoreError({
      reason: "Invalid",
      path: text,
      detail: "is not a public key: they look like ed25519: and 43 letters, as tessera keys new prints them",
      cause
    })
  const x = FORM.exec(text)?.[1]
  return x === undefined
    ? Either.left(wrong())
    : Either.try({
        try: () => createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" }),
        catch: wrong
      })
}

export interface Signer {
  readonly publicKey: PublicKey
  /** The signature of a text, in base64. */
  readonly sign: (text: string) => string
}

/**
 * Reads a private key.
 *
 * @param pem PKCS #8, as `generate` makes it.
 */
export const signer = (pem: string): Either.Either<Signer, StoreError> => {
  const wrong = (detail: string, cause?: unknown) =>
    new StoreError({ reason: "Invalid", path: "signing key", detail, cause })
  return Either.try({
    try: () => createPrivateKey(pem),
    catch: (cause) => wrong("is not a private key in PEM; make one with tessera keys new", cause)
  }).pipe(
    Either.filterOrLeft(
      (key) => key.asymmetricKeyType === "ed25519",
      (key) => wrong(`is a ${key.asymmetricKeyType ?? "symmetric"} key, not an Ed25519 one`)
    ),
    Either.map((key) => ({
      publicKey: nameOf(createPublicKey(key)),
      sign: (text) => signBytes(null, message(text), key).toString("base64")
    }))
  )
}

export const verify = (key: KeyObject, text: string, signature: string): boolean =>
  verifyBytes(null, message(text), key, Buffer.from(signature, "base64"))

/** A new pair of keys. */
export const generate = (): { readonly publicKey: PublicKey; readonly pem: string } => {
  const pair = generateKeyPairSync("ed25519")
  return {
    publicKey: nameOf(pair.publicKey),
    pem: pair.privateKey.export({ format: "pem", type: "pkcs8" }).toString()
  }
}
