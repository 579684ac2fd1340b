/** @module The domain every plugin shares: rules, spans, densities, masks, plans and port contracts. */
export * from "./Contracts.js"
export * from "./Lowering.js"
export * from "./Plan.js"
export * from "./PlanFormats.js"
export * from "./Rule.js"
export * from "./WindowCurve.js"
