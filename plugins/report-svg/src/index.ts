/** @module Pictures of plans and of what they cost, as SVG. */
export * from "./Errors.js"
export * from "./Pareto.js"
export * from "./Points.js"
export * from "./SpanMap.js"
export * from "./Stages.js"
