/** @module What a stage may ask of a model, and Hugging Face model folders. */
export * from "./Errors.js"
export * from "./ModelConfig.js"
export * from "./ModelRuntime.js"
export * from "./Tokenizer.js"
