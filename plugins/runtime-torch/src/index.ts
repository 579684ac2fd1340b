/** @module The model runtime on PyTorch, and what makes its Python environment. */
export * from "./Environment.js"
export { EnvironmentError } from "./Errors.js"
export * from "./ImportGguf.js"
export * from "./Interpreter.js"
export * as RuntimeTorch from "./RuntimeTorch.js"
export { type Patience } from "./Worker.js"
export { TorchWorkers } from "./Workers.js"
export * as doctor from "./Doctor.js"
