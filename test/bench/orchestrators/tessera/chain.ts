export { chain as default } from "./noop.js"
