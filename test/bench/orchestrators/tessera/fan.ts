export { fan as default } from "./noop.js"
