/** @module Chooses an elastic span rule for each head under budgets, proven optimal. */
export * from "./Budget.js"
export * from "./Errors.js"
export { highs, Solver } from "./Highs.js"
export * from "./OptimiseElastic.js"
export * from "./Params.js"
