/** @module Plans and runs pipelines. */
export * from "./Engine.js"
export * from "./Errors.js"
export * from "./Events.js"
