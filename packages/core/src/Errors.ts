import { Data } from "effect"

/** An artifact could not be read as what its port says it is. */
export class ArtifactError extends Data.TaggedError("ArtifactError")<{
  readonly reason: "NotFound" | "Corrupt" | "SchemaMismatch" | "Unavailable"
  /** The artifact: its digest, or the stage and port it comes from. */
  readonly artifact: string
  /** What was wrong and what to do. */
  readonly detail: string
  readonly cause?: unknown
}> {
  override get message() {
    return `Artifact ${this.artifact}: ${this.detail}`
  }
}

/** A pipeline, a parameter or a key could not be built. */
export class GraphError extends Data.TaggedError("GraphError")<{
  readonly reason: "InvalidParameter" | "UnknownParameter" | "UnknownNode" | "DuplicateName" | "Unencodable"
  readonly where: string
  readonly detail: string
}> {
  override get message() {
    return `${this.where}: ${this.detail}`
  }
}
