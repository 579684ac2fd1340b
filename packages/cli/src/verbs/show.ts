/**
 * `tessera show`: what an artifact holds.
 */
import type { Artifact } from "@tessera/store"
import type * as Arrow from "apache-arrow"
import { Effect } from "effect"
import * as ArrowText from "../ArrowText.js"
import * as ArtifactText from "../ArtifactText.js"
import { CliError } from "../Failure.js"
import * as Format from "../Format.js"
import * as Output from "../Output.js"
import * as Reference from "../Reference.js"
import * as TableFile from "../TableFile.js"
import { sharedStoreLayer } from "../StoreLayer.js"

export interface ShowArgs {
  readonly artifact: string
  readonly rows: number
  readonly output: string | undefined
  readonly store: string
  readonly json: boolean
}

const head = (name: string, artifact: Artifact, run: string | undefined): string =>
  [
    `${Output.style.bold(name)}  ${artifact.kind} ${artifact.type}`,
    artifact.digest,
    [
      ...(artifact.rows === undefined ? [] : [`${artifact.rows} rows`]),
      Format.bytes(artifact.size),
      ...(run === undefined ? [] : [`run ${run}`])
    ].join(", ")
  ].join("\n")

const shards = (found: Reference.Found): string =>
  Format.columns([
    { title: "shard", cells: found.artifacts.map(({ shard }) => `${found.name}[${shard ?? ""}]`) },
    {
      title: "rows",
      align: "right",
      cells: found.artifacts.map(({ artifact }) => String(artifact.rows ?? ""))
    },
    {
      title: "size",
      align: "right",
      cells: found.artifacts.map(({ artifact }) => Format.bytes(artifact.size))
    },
    { title: "digest", cells: found.artifacts.map(({ artifact }) => Format.digest(artifact.digest)) }
  ])

const documentLines = 80

const contentText = (content: ArtifactText.Content, rows: number): string => {
  switch (content.kind) {
    case "table": {
      const shown = Math.min(rows, content.table.numRows)
      return [
        ArrowText.statisticsText(ArrowText.statistics(content.table)),
        ...(shown === 0
          ? []
          : [`first ${shown} of ${content.table.numRows} rows`, ArrowText.rows(content.table, shown)])
      ].join("\n\n")
    }
    case "document":
      return ArtifactText.pretty(content.value, documentLines)
    case "tree":
      return ArtifactText.treeText(content.files)
  }
}

const tableJson = (table: Arrow.Table, rows: number) => ({
  schema: table.schema.fields.map(({ name, type, nullable }) => ({
    name,
    type: ArrowText.typeName(type),
    nullable
  })),
  statistics: ArrowText.statistics(table),
  head: Array.from({ length: Math.min(rows, table.numRows) }, (_, row) =>
    Object.fromEntries(
      table.schema.fields.map(({ name }, column) => [
        name,
        ArrowText.json(table.getChildAt(column)?.get(row))
      ])
    )
  )
})

const contentJson = (content: ArtifactText.Content, rows: number) => {
  switch (content.kind) {
    case "table":
      return tableJson(content.table, rows)
    case "document":
      return { value: content.value }
    case "tree":
      return { files: content.files }
  }
}

export const show = (args: ShowArgs) =>
  Effect.gen(function* () {
    const found = yield* Reference.resolve(args.artifact)
    const [one, ...more] = found.artifacts
    if (one === undefined || more.length > 0) {
      if (args.output !== undefined) {
        const [first] = found.artifacts
        return yield* new CliError({
          reason: "Artifact",
          where: found.name,
          detail: "ran once per shard, so there is more than one table to write",
          hint: `Name one of them: ${found.name}[${first?.shard ?? ""}]. tessera show ${found.name} lists them.`
        })
      }
      return yield* args.json
        ? Output.json({ name: found.name, run: found.run, shards: found.artifacts })
        : Output.out(shards(found))
    }
    const content = yield* ArtifactText.read(one.artifact)
    if (args.output !== undefined) {
      const written = yield* TableFile.write(one.artifact, content, args.output)
      return yield* args.json
        ? Output.json({ name: found.name, run: found.run, ...one.artifact, output: args.output })
        : Output.out(written)
    }
    yield* args.json
      ? Output.json({ name: found.name, run: found.run, ...one.artifact, ...contentJson(content, args.rows) })
      : Output.out(`${head(found.name, one.artifact, found.run)}\n\n${contentText(content, args.rows)}`)
  }).pipe(Effect.provide(sharedStoreLayer(args.store, "read")))
