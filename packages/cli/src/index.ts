/** @module The `tessera` command: its verbs and exit codes. */
export { tessera } from "./Commands.js"
export { ExitCode } from "./Failure.js"
