/** @module The embedded model runtime, on the CPU. */
export * as RuntimeCpu from "./RuntimeCpu.js"
