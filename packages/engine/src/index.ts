/** @module Plans and runs pipelines. */
export * from "./Engine.js"
export * from "./Errors.js"
export * from "./Events.js"
export * as Logbook from "./Logbook.js"
export * from "./Overview.js"
export { explain, plan } from "./Plan.js"
export { run, type RunError } from "./Run.js"
