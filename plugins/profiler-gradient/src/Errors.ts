import { Data } from "effect"

/** Influence could not be measured or summed. */
export class ProfilerError extends Data.TaggedError("ProfilerError")<{
  readonly reason: "InvalidParameter" | "NotFinite" | "NoItems" | "Inconsistent"
  readonly detail: string
}> {
  override get message() {
    return this.detail
  }
}
