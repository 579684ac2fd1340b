/** @module The uniform sink-plus-window plan of StreamingLLM, as a stage. */
export * from "./StreamingLlm.js"
