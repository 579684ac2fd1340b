#!/usr/bin/env node
// Pipelines and workspace packages are TypeScript: register the loader, then start the program.
import { register } from "tsx/esm/api"

register()
await import("../src/main.ts")
