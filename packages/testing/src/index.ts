/** @module Conformance suites: what a stage, a store, an executor or a model runtime must hold to. */
export * from "./Check.js"
export type { StoreFixture } from "./store/Fixture.js"
export * from "./store/TestStore.js"
export type { StageFixture, StageTrial } from "./stage/Fixture.js"
export { type Content, contentOf, given, rowsOf } from "./stage/Given.js"
export * from "./stage/TestStage.js"
export * from "./executor/TestExecutor.js"
export * from "./runtime/TestRuntime.js"
