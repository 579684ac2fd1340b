/**
 * The ports every plugin of this domain shares. A third party's stage that uses them drops in.
 */
import { bool, float32, float64, int32, list, table, tree, utf8 } from "@tessera/core"

/** A Hugging Face model folder: config.json, tokenizer.json, *.safetensors. */
export const Model = tree("Model/1")

/** Documents with reference answers. `question` is empty where the data set has one fixed question. */
export const Corpus = table("Corpus/1", {
  /** Unique within the corpus. */
  item: utf8,
  /** Decides the prompt template: `multi_news`, `longeval`. */
  dataset: utf8,
  /** Source articles of a Multi-News item are joined by ` ||||| `. */
  document: utf8,
  question: utf8,
  /** The reference (human) answer. */
  answer: utf8
})

/** Prompts with the answers whose loss is profiled. */
export const CalibrationSet = table("CalibrationSet/1", {
  /** Unique over all lengths. */
  item: utf8,
  dataset: utf8,
  /** The length class in tokens; prompt and answer together are no longer. */
  length: int32,
  /** Prompt, then answer. */
  tokens: list(int32),
  /** One flag per token: true where its loss counts (the answer, its end token included). */
  mask: list(bool),
  prompt: utf8,
  answer: utf8,
  /** Whether the document was cut in the middle to fit. */
  cut: bool
})

/**
 * What keeping less costs: per profiled length, layer and query head. The unit is the objective's (nats for
 * cross-entropy and log-odds), as a mean or a root mean square over items.
 */
export const Influence = table("Influence/1", {
  length: int32,
  layer: int32,
  /** Query head. */
  head: int32,
  /** Tokens per block. */
  block: int32,
  /** Tokens of the sink that is never dropped. */
  sink: int32,
  /** How many items it is of. */
  items: int32,
  /**
   * Entry w: the loss expected when each query keeps the sink and a window of w blocks (its diagonal block included),
   * w = 0 … blocks(length). The last entry is 0.
   */
  window: list(float64),
  /** Block sums, row-major [query block, key block], zero above the diagonal; empty unless the profiler was asked. */
  blocks: list(float32)
})

/** Influence of one calibration item; the same columns as `Influence`, not yet averaged. */
export const ItemInfluence = table("ItemInfluence/1", {
  item: utf8,
  length: int32,
  layer: int32,
  head: int32,
  block: int32,
  sink: int32,
  window: list(float64),
  blocks: list(float32)
})

/** Questions with known answers, to measure a plan. Items of one `record` share their context. */
export const EvaluationSet = table("EvaluationSet/1", {
  item: utf8,
  /** `longeval`: the answer must be exact. `summary`: its loss is measured. */
  task: utf8,
  /** Tokens of context, question and answer together, as a class: 512, 1024, … */
  length: int32,
  record: utf8,
  /** The shared context, as the model's prompt starts. */
  context: utf8,
  /** What follows the context, up to the answer. */
  question: utf8,
  answer: utf8,
  /** Where in the context the answer is found: 0 at its start, 1 at its end. */
  depth: float32
})

/** Measured: one row per plan, task, length and depth bucket. */
export const Measurements = table("Measurements/1", {
  plan: utf8,
  task: utf8,
  length: int32,
  /** Depth bucket `0.0-0.2` …, or `all`. */
  depth: utf8,
  items: int32,
  /** Share of answers reproduced exactly by greedy decoding. */
  accuracy: float64,
  /** 95% Wilson interval of the accuracy. */
  accuracy_low: float64,
  accuracy_high: float64,
  /** Mean loss per answer token, nats. */
  loss: float64,
  /** 95% interval of the loss over items: mean ± this. */
  loss_margin: float64,
  /** KV cache of one sequence of this length under the plan, at the model's stored precision. */
  kv_bytes: float64,
  /** Its share of the dense cache. */
  density: float64
})

/** An installable Python package of kernels specialised to one plan. */
export const KernelPackage = tree("KernelPackage/1")
