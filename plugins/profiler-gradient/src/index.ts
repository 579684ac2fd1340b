/** @module Gradient influence of attention values over a calibration set. */
export * from "./Errors.js"
export * from "./Profile.js"
export * from "./ProfileItem.js"
export * from "./ReduceInfluence.js"
export * from "./WindowCurve.js"
