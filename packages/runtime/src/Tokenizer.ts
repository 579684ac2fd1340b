/**
 * A model's own tokenizer: tokenizer.json through Hugging Face's JavaScript implementation.
 */
import { Effect, Schema } from "effect"
import { ModelError } from "./Errors.js"
import { decode } from "./Files.js"

export interface ChatMessage {
  readonly role: string
  readonly content: string
}

export interface Tokenizer {
  /** @param special whether to add the tokenizer's own begin-of-text tokens; default true. */
  readonly encode: (text: string, options?: { readonly special?: boolean }) => ReadonlyArray<number>
  /** Special tokens are left out unless asked for. */
  readonly decode: (
    tokens: ReadonlyArray<number> | Int32Array,
    options?: { readonly special?: boolean }
  ) => string
  /** Ids, added tokens included. */
  readonly vocabulary: number
  /**
   * Renders a chat with the tokenizer's own template, up to where the model answers; undefined where it has none. The
   * text holds its begin-of-text token: encode it with `special: false`. Throws a `ModelError` where the template
   * refuses the messages.
   */
  readonly chat: ((messages: ReadonlyArray<ChatMessage>) => string) | undefined
}

const TokenizerFile = Schema.Struct({
  model: Schema.Struct({ type: Schema.optional(Schema.String) }),
  added_tokens: Schema.optional(
    Schema.Array(Schema.Struct({ id: Schema.NonNegativeInt, content: Schema.String }))
  )
})

const SpecialToken = Schema.optional(
  Schema.NullOr(Schema.Union(Schema.String, Schema.Struct({ content: Schema.String })))
)

const TokenizerConfig = Schema.Struct({
  bos_token: SpecialToken,
  eos_token: SpecialToken,
  chat_template: Schema.optional(
    Schema.NullOr(
      Schema.Union(
        Schema.String,
        Schema.Array(Schema.Struct({ name: Schema.String, template: Schema.String }))
      )
    )
  )
})
type TokenizerConfig = typeof TokenizerConfig.Type

const text = (token: TokenizerConfig["bos_token"]): string =>
  token === undefined || token === null ? "" : typeof token === "string" ? token : token.content

const templateOf = (config: TokenizerConfig, file: string | undefined): string | undefined => {
  if (file !== undefined) return file
  const own = config.chat_template
  if (own === undefined || own === null || typeof own === "string") return own ?? undefined
  return own.find((entry) => entry.name === "default")?.template
}

export interface TokenizerSource {
  /** Path of tokenizer.json, for messages. */
  readonly path: string
  /** Content of tokenizer.json. */
  readonly json: unknown
  /** Content of tokenizer_config.json, where there is one. */
  readonly config?: unknown
  /** Content of chat_template.jinja, where there is one; it comes before the config's template. */
  readonly template?: string | undefined
}

export const makeTokenizer = (source: TokenizerSource): Effect.Effect<Tokenizer, ModelError> =>
  Effect.gen(function* () {
    const { path } = source
    const fail = (what: string) => (cause: unknown) =>
      new ModelError({ reason: "InvalidTokenizer", path, detail: `${what}: ${String(cause)}`, cause })
    yield* decode(TokenizerFile, "InvalidTokenizer", path)(source.json)
    const config = yield* decode(TokenizerConfig, "InvalidTokenizer", path)(source.config ?? {})
    // Imported where a tokenizer is made: a run that finds all results cached does without.
    const { Tokenizer: HuggingFace } = yield* Effect.promise(() => import("@huggingface/tokenizers"))
    const { Template } = yield* Effect.promise(() => import("@huggingface/jinja"))
    const tokenizer = yield* Effect.try({
      try: () => new HuggingFace(Object(source.json), Object(source.config ?? {})),
      catch: fail("cannot be used")
    })
    const template = templateOf(config, source.template)
    const parsed =
      template === undefined
        ? undefined
        : yield* Effect.try({
            try: () => new Template(template),
            catch: fail("its chat template cannot be parsed")
          })
    return {
      encode: (text, options) => tokenizer.encode(text, { add_special_tokens: options?.special ?? true }).ids,
      decode: (tokens, options) =>
        tokens.length === 0
          ? ""
          : tokenizer.decode(Array.from(tokens), {
              skip_special_tokens: options?.special !== true,
              // Decoding must give back what was encoded, so no space before punctuation is taken away.
              clean_up_tokenization_spaces: false
            }),
      vocabulary: tokenizer.get_vocab(true).size,
      chat:
        parsed &&
        ((messages) => {
          try {
            return parsed.render({
              messages,
              add_generation_prompt: true,
              bos_token: text(config.bos_token),
              eos_token: text(config.eos_token)
            })
          } catch (cause) {
            throw fail("its chat template refuses these messages")(cause)
          }
        })
    }
  })
