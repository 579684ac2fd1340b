/** @module Calibration sets from Multi-News, answered by the model itself. */
export * from "./Calibrate.js"
export * from "./Errors.js"
export * from "./MergeCorpora.js"
export * from "./MultiNewsCorpus.js"
export * from "./SplitCorpus.js"
export { moaTemplates, Template } from "./Template.js"
