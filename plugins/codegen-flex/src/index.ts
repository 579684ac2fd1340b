/** @module Emits a Python package that gives FlexAttention the masks of a plan. */
export { emitFiles, emitFlex, EmitFlexParams } from "./Emit.js"
