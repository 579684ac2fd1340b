/** @module The artifact store. */
export * from "./Action.js"
export { BATCH_ROWS } from "./CanonicalTable.js"
export * from "./Errors.js"
export * as FileStore from "./FileStore.js"
export { type Garbage, type Maintenance, Pin, type StoredBlob } from "./Maintenance.js"
export * as MemoryStore from "./MemoryStore.js"
export * from "./Store.js"
