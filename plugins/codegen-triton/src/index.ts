/** @module Emits a Python package of Triton kernels specialised to a plan. */
export { emitFiles, emitTriton, EmitTritonParams } from "./Emit.js"
