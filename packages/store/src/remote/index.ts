/** @module The remote store. Apart from the rest of the package: a store without a remote loads none of it. */
export type { Options } from "./RemoteStore.js"
export * as RemoteStore from "./RemoteStore.js"
export { generate as generateKeys, type PublicKey, publicKey, signer } from "./Signature.js"
