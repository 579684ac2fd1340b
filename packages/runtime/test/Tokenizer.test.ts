import { Effect } from "effect"
import fc from "fast-check"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import { makeTokenizer, ModelError, openTokenizer } from "../src/index.js"
import { tinyTokenizer, run } from "./folder.js"

// The demo model's tokenizer: byte-level BPE with ignore_merges, digits one by one, and <s> at the start.
const demo = fileURLToPath(new URL("../../demo/model", import.meta.url))
const openDemo = openTokenizer(demo)

const make = (config?: object, template?: string) =>
  makeTokenizer({ path: "m/tokenizer.json", json: tinyTokenizer, config, template })

describe("openTokenizer", () => {
  it("puts <s> at the start unless told not to", () =>
    run(
      Effect.gen(function* () {
        const tokenizer = yield* openDemo
        const line = "line torrid-kid: REGISTER_CONTENT is <24169>\n"
        const tokens = [1180, 461, 48, 630, 61, 1181, 98, 1179, 853, 801, 53, 55, 52, 57, 60, 65, 13]
        expect(tokenizer.encode(line)).toEqual([0, ...tokens])
        expect(tokenizer.encode(line, { special: false })).toEqual(tokens)
        expect(tokenizer.encode("", { special: false })).toEqual([])
        expect(tokenizer.vocabulary).toBe(2560)
      })
    ))

  it("shows special tokens only when asked", () =>
    run(
      Effect.gen(function* () {
        const tokenizer = yield* openDemo
        const tokens = Int32Array.from([...tokenizer.encode("a b"), 1])
        expect(tokenizer.decode(tokens)).toBe("a b")
        expect(tokenizer.decode(tokens, { special: true })).toBe("<s>a b</s>")
      })
    ))

  it("decodes no tokens to no text", () =>
    run(Effect.map(openDemo, (tokenizer) => expect(tokenizer.decode([])).toBe(""))))

  it("gives back any text it encoded", () =>
    run(
      Effect.gen(function* () {
        const tokenizer = yield* openDemo
        fc.assert(
          fc.property(
            fc.oneof(
              fc.string({ unit: "binary" }),
              fc.string({
                unit: fc.constantFrom(" ", "\n", "a", "Z", "7", ".", "'s", "é", "日", " ,", "n't")
              })
            ),
            (text) => {
              // A special token's own text is that token, here as in transformers.
              fc.pre(!/<\/?s>|<pad>/.test(text))
              expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
            }
          )
        )
      })
    ))

  it("encodes long texts in linear time: 20,000 tokens within a few seconds at worst", () =>
    run(
      Effect.gen(function* () {
        const tokenizer = yield* openDemo
        const text = "Residents of Barbek said 12,345 things; none was uncommonplacely surprising.\n".repeat(
          800
        )
        const start = performance.now()
        const tokens = tokenizer.encode(text)
        expect(performance.now() - start).toBeLessThan(5000)
        expect(tokens.length).toBeGreaterThan(20_000)
      })
    ))

  it("has no chat where the model has no template", () =>
    run(
      Effect.gen(function* () {
        expect((yield* openDemo).chat).toBeUndefined()
      })
    ))
})

describe("makeTokenizer", () => {
  const template =
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}" +
    "{% if add_generation_prompt %}[assistant]{% endif %}"
  const messages = [{ role: "user", content: "hi" }]
  const rendered = "<s>[user] hi\n[assistant]"

  it("renders chats with the template of tokenizer_config.json", () =>
    run(
      Effect.gen(function* () {
        const text = yield* make({ bos_token: "<s>", chat_template: template })
        expect(text.chat?.(messages)).toBe(rendered)
        const list = yield* make({
          bos_token: { content: "<s>" },
          chat_template: [
            { name: "tools", template: "x" },
            { name: "default", template }
          ]
        })
        expect(list.chat?.(messages)).toBe(rendered)
      })
    ))

  it("prefers the template of chat_template.jinja", () =>
    run(
      Effect.gen(function* () {
        const tokenizer = yield* make({ bos_token: "<s>", chat_template: "x" }, template)
        expect(tokenizer.chat?.(messages)).toBe(rendered)
      })
    ))

  it("throws what the template has against the messages", () =>
    run(
      Effect.gen(function* () {
        const tokenizer = yield* make({ chat_template: "{{ raise_exception('no system role') }}" })
        expect(() => tokenizer.chat?.(messages)).toThrow(ModelError)
        expect(() => tokenizer.chat?.(messages)).toThrow(/no system role/)
      })
    ))

  it("refuses a template that cannot be parsed", () =>
    run(
      Effect.gen(function* () {
        const error = yield* Effect.flip(make({ chat_template: "{% for %}" }))
        expect(error.reason).toBe("InvalidTokenizer")
        expect(error.message).toContain("chat template cannot be parsed")
      })
    ))

  it("refuses a tokenizer.json without a model, or with an unknown one", () =>
    run(
      Effect.gen(function* () {
        for (const json of [{}, { model: { type: "Nope", vocab: {} } }]) {
          const error = yield* Effect.flip(makeTokenizer({ path: "m/tokenizer.json", json }))
          expect(error.reason).toBe("InvalidTokenizer")
          expect(error.path).toBe("m/tokenizer.json")
        }
      })
    ))
})
