export interface Tokenizer {
  /** @param special whether to add the tokenizer's own begin-of-text tokens; default true. */
  readonly encode: (text: string, options?: { readonly special?: boolean }) => ReadonlyArray<number>
  /** Special tokens are left out unless asked for. */
  readonly decode: (tokens: ReadonlyArray<number> | Int32Array, options?: { readonly special?: boolean }) => string
  readonly vocabulary: number
  /** Renders a chat with the tokenizer's own template; undefined where it has none. */
  readonly chat: ((messages: ReadonlyArray<{ readonly role: string; readonly content: string }>) => string) | undefined
}
