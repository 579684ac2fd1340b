/** @module Plans and runs pipelines. */
export { type Collection, garbage, type Keep } from "./Collect.js"
export * from "./Engine.js"
export * from "./Errors.js"
export * from "./Events.js"
export * as Logbook from "./Logbook.js"
export * from "./Overview.js"
export { explain, plan } from "./Plan.js"
export { run, type RunError } from "./Run.js"
