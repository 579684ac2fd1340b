/** @module A small trained long-context model, and generators of the two tasks it was trained on. */
import { fileURLToPath } from "node:url"

export * from "./Corpora.js"
export * from "./Errors.js"
export * from "./Evaluation.js"
export * from "./Lines.js"
export * from "./News.js"
export * from "./Prompts.js"
export * from "./Random.js"
export { Split } from "./Sets.js"

/** The demo model's folder, in Hugging Face's layout. */
export const demoModelPath: string = fileURLToPath(new URL("../model", import.meta.url))
