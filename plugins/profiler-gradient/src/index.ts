/** @module Gradient influence of attention values over a calibration set. */
export * from "./Errors.js"
export * from "./Profile.js"
export * from "./Params.js"
export * from "./ProfileItem.js"
export * from "./ProfileLength.js"
export * from "./ReduceInfluence.js"
