/** @module The artifact store. */
export * from "./Action.js"
export * from "./Errors.js"
export * from "./Store.js"
