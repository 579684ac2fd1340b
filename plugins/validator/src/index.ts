/** @module Measures candidate plans and picks one. */
export * from "./Choose.js"
export * from "./Errors.js"
export * from "./Evaluate.js"
export * from "./EvaluateRecord.js"
export * from "./Merge.js"
export * from "./Statistics.js"
export * from "./Summarise.js"
