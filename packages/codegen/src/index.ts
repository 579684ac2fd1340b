/** @module What emission targets share: names, templates and files of an emitted Python package. */
export * from "./Errors.js"
export * from "./Files.js"
export { PackageName, packageNameOf } from "./PackageName.js"
export * from "./Python.js"
