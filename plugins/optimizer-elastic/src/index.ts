/** @module Chooses an elastic span rule for each head under a density budget, proven optimal. */
export * from "./Errors.js"
export { highs, Solver } from "./Highs.js"
export * from "./OptimiseElastic.js"
export * from "./Params.js"
export { rulesOf } from "./Rules.js"
